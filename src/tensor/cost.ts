// Static cost of a decoder by the formulas of docs/spec/03-op-table.md: known from shapes alone.

import { assert } from "gyrotron/base";
import { type DecoderDesign, LLAMA_DESIGN } from "./decoder-design.ts";
import type { DecoderShape } from "./decoder-shape.ts";
import { type Precision, weightBitsOf } from "./precision.ts";

/** What a computation moves and multiplies. */
export interface Cost {
  readonly multiplyAdds: bigint;
  readonly bytes: bigint;
}

/** Number of weights in the matrices of the layers, and of the classifier. */
export function decoderMatrixSizes(
  shape: DecoderShape,
  design: DecoderDesign = LLAMA_DESIGN,
): { layers: bigint; classifier: bigint } {
  const { width, hidden, heads, kvHeads, headSize, layers, vocabulary } = shape;
  const attention = width * headSize * (2 * heads + 2 * kvHeads);
  const matrices = design.feedForward === "swiglu" ? 3n : 2n;
  const layer = BigInt(attention) + matrices * BigInt(width) * BigInt(hidden);
  return { layers: BigInt(layers) * layer, classifier: BigInt(vocabulary) * BigInt(width) };
}

/** Cost of running positions `first .. first + count - 1`, with logits at the last `logits` of them. */
export function decoderCost(
  shape: DecoderShape,
  precision: Precision,
  range: { first: number; count: number; logits: number },
  design: DecoderDesign = LLAMA_DESIGN,
): Cost {
  const { first, count, logits } = range;
  assert(first >= 0 && count >= 0 && logits >= 0 && logits <= count, "range out of order");
  const sizes = decoderMatrixSizes(shape, design);
  // The sum of the positions seen: first+1, ..., first+count.
  const seen = (BigInt(count) * BigInt(2 * first + count + 1)) / 2n;
  const headWidth = BigInt(shape.headSize) * BigInt(shape.layers);
  const attention = 2n * BigInt(shape.heads) * headWidth * seen;
  const weightBytes = weightBitsOf(precision) === 8 ? 1n : 2n;
  const cacheBytes = 4n * BigInt(shape.kvHeads) * headWidth * seen;
  const matrices = sizes.layers * BigInt(count) + sizes.classifier * BigInt(logits);
  return { multiplyAdds: matrices + attention, bytes: matrices * weightBytes + cacheBytes };
}
