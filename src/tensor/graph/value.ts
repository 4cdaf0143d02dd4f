// Types of values in a graph and their bytes on the host. Shapes are generic in their dimensions: `Dim`
// while a graph is built (dimension.ts), `number` once it is resolved to run.

/** How an element is stored; docs/spec/01-numerics.md sections 1 and 14. */
export type ElementType = "f32" | "i32" | "bool" | "i64" | "bfp";

/** f32, integers, or masks of a shape; the last axis varies fastest. */
export interface PlainType<D> {
  readonly element: "f32" | "i32" | "bool" | "i64";
  readonly shape: readonly D[];
}

/**
 * Integers whose rows along the last axis share one exponent each. With `scaled`, each row carries also a
 * factor 128..255 (weights, section 2.1).
 */
export interface BfpType<D> {
  readonly element: "bfp";
  readonly shape: readonly D[];
  /** Width of a mantissa, 8..16. */
  readonly bits: number;
  readonly scaled: boolean;
}

/** The type of a value. */
export type TensorType<D> = PlainType<D> | BfpType<D>;

/** A value on the host. Lengths follow from the shape; a bool is a byte 0 or 1. */
export type HostTensor =
  | { readonly element: "f32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly element: "i32"; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly element: "bool"; readonly shape: readonly number[]; readonly data: Uint8Array }
  | { readonly element: "i64"; readonly shape: readonly number[]; readonly data: BigInt64Array }
  | HostBfp;

/** Mantissas `[...shape]`, exponents `[...shape without the last axis]`, scales likewise where scaled. */
export interface HostBfp {
  readonly element: "bfp";
  readonly shape: readonly number[];
  readonly bits: number;
  readonly data: Int32Array;
  readonly exponents: Int32Array;
  readonly scales: Uint8Array | undefined;
}

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Number of rows along the last axis: the product of all other sizes, 1 for a scalar. */
export function rowCount(shape: readonly number[]): number {
  return elementCount(shape.slice(0, -1));
}
