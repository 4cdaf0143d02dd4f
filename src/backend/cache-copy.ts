// Where the positions of one cache lie in another of more or fewer slots. Both devices lay caches out alike:
// for each layer K mantissas [kvHeads][slots][unit], V mantissas the same, K exponents [kvHeads][slots], V
// exponents the same.

/** A run of bytes to copy. */
export interface CopyRange {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** The copies that bring the first `positions` of a cache into another; offsets from the first layer. */
export function cacheCopies(
  shape: { readonly layers: number; readonly kvHeads: number; readonly unitBytes: number },
  size: { readonly positions: number; readonly fromSlots: number; readonly toSlots: number },
): CopyRange[] {
  const { layers, kvHeads, unitBytes } = shape;
  // V lies in pairs of positions.
  const positions = size.positions + (size.positions & 1);
  const copies: CopyRange[] = [];
  let [from, to] = [0, 0];
  for (let layer = 0; layer < layers; layer++) {
    for (const unit of [unitBytes, unitBytes, 4, 4]) {
      for (let head = 0; head < kvHeads; head++) {
        copies.push({ from, to, bytes: positions * unit });
        from += size.fromSlots * unit;
        to += size.toSlots * unit;
      }
    }
  }
  return copies;
}
