// The closed list of ops: what a node of a graph can be. Definitions are in docs/spec/01-numerics.md, shapes,
// costs and errors in docs/spec/03-op-table.md. Every op has one result; its type stands on the node, so
// that ops whose only parameter is a shape (reshape, broadcast, iota, pad, slice) need no other.

import type { HostTensor, TensorType } from "./value.ts";

/** What an input is for: given each run, trained, or carried from run to run. */
export type InputRole = "data" | "parameter" | "state";

/** One f32 in, one f32 out, element by element (sections 4, 5, 9, 15). */
export type UnaryOp =
  | "neg"
  | "abs"
  | "sqrt"
  | "rsqrt"
  | "exp"
  | "exp2"
  | "log"
  | "tanh"
  | "sigmoid"
  | "erf"
  | "gelu"
  | "gelu-tanh"
  | "silu"
  | "relu";

/** Two values of one type and shape; `div` of f32 only, the others of f32 or i32 (which wraps). */
export type BinaryOp = "add" | "sub" | "mul" | "div" | "min" | "max";

/** Two f32 or two i32 of one shape give a bool. */
export type CompareOp = "equal" | "less" | "less-or-equal";

/** Bools of one shape. */
export type LogicOp = "and" | "or" | "not";

/** Along the last axis, which is dropped; f32 in (section 16). */
export type ReduceOp = "sum" | "mean" | "variance";

/** Window of `patches` and `fold` over `[batch, height, width, channels]` (section 19). */
export interface Window {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** Rows added above and columns added to the left; the sizes of the result fix the other side. */
  readonly padding: readonly [number, number];
}

/** What a node computes. `D` is `Dim` in a graph and `number` once resolved. */
export type Op<D> =
  | { readonly op: "input"; readonly name: string; readonly role: InputRole }
  | { readonly op: "constant"; readonly value: HostTensor }
  /** i32: the index along an axis. */
  | { readonly op: "iota"; readonly axis: number }
  | { readonly op: "reshape" }
  | { readonly op: "transpose"; readonly permutation: readonly number[] }
  /** Element `starts + i * strides`; sizes from the type. */
  | { readonly op: "slice"; readonly starts: readonly D[]; readonly strides: readonly number[] }
  | { readonly op: "concat"; readonly axis: number }
  /** `low` before the first and `interior` between neighbours; sizes from the type, the rest behind. */
  | {
      readonly op: "pad";
      readonly low: readonly D[];
      readonly interior: readonly number[];
      readonly value: number;
    }
  /** Axes of size 1 repeat; the rank is kept. */
  | { readonly op: "broadcast" }
  /** table `[V, ...]`, indices i32 -> `[...indices, ...]`. */
  | { readonly op: "gather" }
  /** updates f32 `[R, N]`, indices i32 `[R]` -> f32 `[V, N]`, V from the type (section 16). */
  | { readonly op: "scatter-add" }
  /** x f32 or i32 `[..., N]`, indices i32 `[..., K]` -> `[..., K]`. */
  | { readonly op: "take-along" }
  | { readonly op: "patches"; readonly window: Window; readonly value: number }
  /** The adjoint of patches. */
  | { readonly op: "fold"; readonly window: Window }
  | { readonly op: UnaryOp }
  | { readonly op: BinaryOp }
  | { readonly op: CompareOp }
  | { readonly op: LogicOp }
  /** bool, then two values of one type. */
  | { readonly op: "select" }
  /** To the element of the type: i32 or bool to f32, bool to i32, f32 to i32 (section 14). */
  | { readonly op: "convert" }
  /** `bits` 16 or 24; variance 16. */
  | { readonly op: ReduceOp; readonly bits: number }
  | { readonly op: "reduce-max" }
  /** f32 `[..., N]` -> i32 `[...]`. */
  | { readonly op: "argmax" }
  /** f32 `[..., N]` -> i32 `[..., k]`: indices by falling value, then rising index. */
  | { readonly op: "top-k" }
  | { readonly op: "rms-norm" | "layer-norm"; readonly epsilon: number }
  /** Along the last axis; causal rows of `[..., T, P]` see columns up to `P - T + row` (section 17). */
  | { readonly op: "softmax"; readonly causal: boolean }
  | { readonly op: "log-softmax" }
  /** logits f32 `[..., V]`, targets i32 `[...]` -> f32 `[...]`. */
  | { readonly op: "cross-entropy" }
  | { readonly op: "quantize"; readonly bits: number }
  | { readonly op: "quantize-columns"; readonly bits: 8 | 14 }
  | { readonly op: "dequantize" }
  /** bfp `[..., M, K]` and bfp `[..., N, K]` or `[N, K]` -> f32 `[..., M, N]`. */
  | { readonly op: "matmul" }
  /** As matmul, and a third input i32 `[]`, the grid's exponent -> i64 (section 18). */
  | { readonly op: "matmul-grid" }
  /** f32 and the exponent -> i64. */
  | { readonly op: "to-grid" }
  | { readonly op: "grid-add" }
  /** i64 and the exponent -> f32. */
  | { readonly op: "from-grid" }
  /** x f32 `[..., H, d]`, positions i32 `[...]` (section 7; `inverse` turns back). */
  | {
      readonly op: "rotary";
      readonly steps: readonly number[];
      readonly interleaved: boolean;
      readonly inverse: boolean;
    }
  /** q bfp(13) `[B, T, H, d]`, k and v bfp(13) `[B, P, G, d]` -> f32 `[B, T, H, d]` (sections 8 and 20). */
  | { readonly op: "attention"; readonly causal: boolean }
  /** q, k -> i32 `[B, H, T, P]`: z of section 8, 0 where not visible. */
  | { readonly op: "attention-scores"; readonly causal: boolean }
  /** scores, v -> f32 `[B, T, H, d]`. */
  | { readonly op: "attention-combine"; readonly causal: boolean }
  /** key i32 `[4]` (seed low, seed high, sequence, purpose) -> i32 of the type's shape (section 21). */
  | { readonly op: "random-bits" }
  /** x f32, key i32 `[4]`; `keep` of 65536 elements stay. */
  | { readonly op: "dropout"; readonly keep: number }
  /** logits f32 `[R, V]`, keys i32 `[R, 4]` (seed low, seed high, sequence, position) -> i32 `[R]`. */
  | {
      readonly op: "sample";
      readonly temperature: number;
      readonly topK: number;
      readonly topP: number;
    };

/** The name of an op. */
export type OpKind = Op<number>["op"];

/** One value of a graph: an op on earlier values. */
export type Node<D> = Op<D> & {
  /** Indices of earlier nodes. */
  readonly inputs: readonly number[];
  readonly type: TensorType<D>;
};
