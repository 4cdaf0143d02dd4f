// The biases of products that a device computes side by side.

import {
  type DecoderLayer,
  type DecoderShape,
  type LayerVector,
  layerVectorSizes,
} from "gyrotron/tensor";

/** Biases of a layer end to end, zeros for those that are absent: adding one changes no bit. */
export function joinBiases(
  layer: DecoderLayer,
  shape: DecoderShape,
  names: readonly LayerVector[],
): Float32Array | undefined {
  if (names.every((name) => layer[name] === undefined)) return undefined;
  const sizes = layerVectorSizes(shape);
  const joined = new Float32Array(names.reduce((sum, name) => sum + sizes[name], 0));
  let at = 0;
  for (const name of names) {
    const vector = layer[name];
    if (vector !== undefined) joined.set(vector, at);
    at += sizes[name];
  }
  return joined;
}
