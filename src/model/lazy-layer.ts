// Layers whose tensors are read each time they are asked for, so that whoever prepares one after the other never
// holds two.

/** How to read each tensor of a layer. */
export type LayerReaders<L> = {
  readonly [K in keyof L]: () => NonNullable<L[K]>;
};

/** A layer with a getter for each reader. */
export function lazyLayer<L extends object>(readers: LayerReaders<L>): L {
  const getters = Object.entries<() => unknown>(readers).map(
    ([name, get]) => [name, { get, enumerable: true }] as const,
  );
  return Object.defineProperties({}, Object.fromEntries(getters)) as L;
}
