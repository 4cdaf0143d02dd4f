// Errors of tensors, op calls, decoders and graphs.

import { GyrotronError } from "gyrotron/base";

export type TensorErrorInfo =
  | { code: "tensor/shape-mismatch"; op: string; what: string }
  | { code: "tensor/limit"; what: string; limit: number; actual: number }
  | { code: "tensor/unsupported"; backend: string; what: string }
  | { code: "tensor/context-full"; capacity: number; position: number }
  | { code: "tensor/closed"; what: string }
  | { code: "tensor/device-lost"; backend: string; reason: string }
  | { code: "tensor/device-memory"; backend: string; what: string }
  /** Native kernels that do not give the bits of the definition. */
  | { code: "tensor/native-differs"; what: string }
  /** Keys and values of a sequence that may have so many positions. */
  | {
      code: "tensor/cache-memory";
      backend: string;
      positions: number;
      mebibytes: number;
      leftMebibytes: number;
    }
  /** An operand or the result of a node; `input` counts from 0, `result` is the type asked for. */
  | {
      code: "tensor/type";
      op: string;
      input: number | "result";
      expected: string;
      actual: string;
    }
  /** A parameter of an op. */
  | { code: "tensor/attribute"; op: string; attribute: string; expected: string; actual: string }
  /** A size that is unknown, negative, not an integer or not the one declared. */
  | { code: "tensor/dimension"; what: string }
  /** Names and connections of a graph. */
  | { code: "tensor/graph"; what: string }
  /** A value given to a run. */
  | { code: "tensor/input"; input: string; expected: string; actual: string }
  /** An accumulator that could overflow; `bound` is the largest magnitude it could reach. */
  | {
      code: "tensor/overflow";
      node: number;
      op: string;
      accumulator: string;
      bits: number;
      bound: bigint;
    }
  | { code: "tensor/no-gradient"; node: number; op: string; what: string }
  /** A run that ended without outputs, docs/spec/01-numerics.md section 22. */
  | { code: "tensor/run-failed"; kind: string; node: number; op: string; row: number };

/** A call that the shapes, limits or capabilities forbid. */
export class TensorError extends GyrotronError<TensorErrorInfo> {}
