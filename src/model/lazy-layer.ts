// Layers whose tensors are read each time they are asked for, so that whoever prepares one after the other never
// holds two.

import type { SourceLayer } from "./model-source.ts";

/** How to read each tensor of a layer. */
export type LayerReaders = {
  readonly [K in keyof SourceLayer]: () => NonNullable<SourceLayer[K]>;
};

/** A layer with a getter for each reader. */
export function lazyLayer(readers: LayerReaders): SourceLayer {
  const getters = Object.entries(readers).map(
    ([name, get]) => [name, { get, enumerable: true }] as const,
  );
  return Object.defineProperties({}, Object.fromEntries(getters)) as SourceLayer;
}
