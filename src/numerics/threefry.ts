// Threefry-2x32 with 20 rounds (docs/spec/01-numerics.md section 11): counter-based randomness, so a
// draw depends on logical indices only and never on who drew before.

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];
const PARITY = 0x1bd11bda;

/** What a draw is for; distinct purposes give independent streams. */
export const PURPOSE_SAMPLING = 1;

/** Where a draw stands: all u32 but the seed, which is u64. */
export interface DrawIndex {
  readonly seed: bigint;
  readonly sequence: number;
  readonly purpose: number;
  readonly position: number;
}

/** One block of two u32. */
export function threefry(
  key: readonly [number, number],
  counter: readonly [number, number],
): [number, number] {
  const keys = [key[0], key[1], (PARITY ^ key[0] ^ key[1]) >>> 0];
  let x = (counter[0] + key[0]) >>> 0;
  let y = (counter[1] + key[1]) >>> 0;
  for (let round = 0; round < 20; round++) {
    const r = ROTATIONS[round % 8]!;
    x = (x + y) >>> 0;
    y = (((y << r) | (y >>> (32 - r))) ^ x) >>> 0;
    if (round % 4 !== 3) continue;
    const block = (round + 1) / 4;
    x = (x + keys[block % 3]!) >>> 0;
    y = (y + keys[(block + 1) % 3]! + block) >>> 0;
  }
  return [x, y];
}

/** 64 random bits. */
export function randomU64(index: DrawIndex): bigint {
  const seed = BigInt.asUintN(64, index.seed);
  const key = threefry(
    [Number(seed & 0xffff_ffffn), Number(seed >> 32n)],
    [index.sequence, index.purpose],
  );
  const [low, high] = threefry(key, [index.position, 0]);
  return (BigInt(high) << 32n) | BigInt(low);
}
