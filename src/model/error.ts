// Errors of model files. Bytes that are no valid file at all are `DecodeError`s with an offset.

import { GyrotronError } from "gyrotron/base";

export type ModelErrorInfo =
  | { code: "model/unsupported"; what: string }
  | { code: "model/limit"; what: string; limit: number; actual: number }
  | { code: "model/tensor-missing"; name: string }
  | { code: "model/tensor-shape"; name: string; expected: string; actual: string }
  | { code: "model/token-unknown"; token: number; vocabulary: number };

/** A readable file that this version cannot run. */
export class ModelError extends GyrotronError<ModelErrorInfo> {}
