// Weights on their way to a backend: what was placed there is freed here at once, so that a model that was made
// in memory is never held twice.

import type { DecoderLayer, DecoderWeights, PackedMatrix } from "gyrotron/tensor";

/**
 * The weights, for one reader who asks for layer after layer: when it asks for a matrix of another layer, those
 * it got of the one before are freed, and so are those of `weights`. The last layer's stay.
 */
export function handedOver(weights: DecoderWeights): DecoderWeights {
  let current: DecoderLayer | undefined;
  const lent: PackedMatrix[] = [];
  const moveTo = (layer: DecoderLayer | undefined): void => {
    if (layer === current) return;
    for (const matrix of lent.splice(0)) free(matrix);
    current = layer;
  };
  const lend = (layer: DecoderLayer): DecoderLayer => {
    const names = Object.keys(layer) as (keyof DecoderLayer)[];
    const getters = names.map((name) => {
      const get = (): DecoderLayer[typeof name] => {
        moveTo(layer);
        const value = layer[name];
        if (value !== undefined && "mantissas" in value) lent.push(value);
        return value;
      };
      return [name, { get, enumerable: true }] as const;
    });
    return Object.defineProperties({}, Object.fromEntries(getters)) as DecoderLayer;
  };
  const whole = Object.create(weights) as DecoderWeights;
  return Object.defineProperties(whole, {
    layers: { value: weights.layers.map(lend), enumerable: true },
    classifier: {
      get() {
        moveTo(undefined);
        return weights.classifier;
      },
      enumerable: true,
    },
  });
}

/** Detaches the matrix's arrays; the collector would wait for memory of its own to run short. */
function free(matrix: PackedMatrix): void {
  for (const value of Object.values(matrix) as unknown[]) {
    if (!ArrayBuffer.isView(value) || !(value.buffer instanceof ArrayBuffer)) continue;
    if (!value.buffer.detached) value.buffer.transfer(0);
  }
}
