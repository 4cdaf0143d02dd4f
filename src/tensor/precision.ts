// The fixed widths of docs/spec/01-numerics.md sections 3 and 8: static per tensor, so a price never
// depends on data.

/** Widths of weights (`w`) and activations (`a`) in matmul. */
export type Precision = "w8a8" | "w8a14" | "w14a14";

export const PRECISIONS: readonly Precision[] = ["w8a8", "w8a14", "w14a14"];
export const PRECISION_DEFAULT: Precision = "w8a14";

/** Width of a weight mantissa that a precision stands for. */
export type WeightBits = 8 | 14;
/** Width of a matrix's mantissas: where the file has levels of 4 bits, 8 bits stand for those. */
export type MatrixBits = 4 | WeightBits;
/** Width of an activation mantissa. */
export type ActivationBits = 8 | 14 | 15 | 16;

/** Width of Q and of cached K and V. */
export const ATTENTION_BITS = 13;
/** Width of the grids of norms and of rotary embedding. */
export const GRID_BITS = 16;

/** Width of the weights. */
export function weightBitsOf(precision: Precision): WeightBits {
  return precision === "w14a14" ? 14 : 8;
}

/** Width of the activations that enter a matmul, as the precision's name says. */
export function activationBitsOf(precision: Precision): 8 | 14 {
  return precision === "w8a8" ? 8 : 14;
}

/**
 * Widths of a decoder's activations (section 10): what enters its products, and what enters `down`, whose
 * input has the widest range. The most precise decoders take more than their name says (ADR 0041).
 */
export function decoderWidthsOf(precision: Precision): {
  activationBits: ActivationBits;
  downBits: ActivationBits;
} {
  if (precision === "w14a14") return { activationBits: 15, downBits: 16 };
  const bits = activationBitsOf(precision);
  return { activationBits: bits, downBits: bits };
}

/** The largest mantissa of a width. */
export function mantissaMax(bits: number): number {
  return 2 ** (bits - 1) - 1;
}

/** How many products an i32 accumulator takes before it must spill, by the overflow proof of section 3. */
export function productsBeforeSpill(leftBits: number, rightBits: number): number {
  return Math.floor((2 ** 31 - 1) / (mantissaMax(leftBits) * mantissaMax(rightBits)));
}
