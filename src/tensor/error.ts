// Errors of tensors, op calls and decoders.

import { GyrotronError } from "gyrotron/base";

export type TensorErrorInfo =
  | { code: "tensor/shape-mismatch"; op: string; what: string }
  | { code: "tensor/limit"; what: string; limit: number; actual: number }
  | { code: "tensor/unsupported"; backend: string; what: string }
  | { code: "tensor/context-full"; capacity: number; position: number }
  | { code: "tensor/closed"; what: string };

/** A call that the shapes, limits or capabilities forbid. */
export class TensorError extends GyrotronError<TensorErrorInfo> {}
