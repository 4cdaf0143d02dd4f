// Scalar steps shared by the kernels (docs/spec/01-numerics.md sections 1, 2, 5).
//
// Why floating point is exact here: a binary64 holds every integer below 2^53, and multiplying one by a
// power of two within +-400 neither rounds nor leaves the normal range. So `demote(integer * 2^e)` rounds
// exactly once, to nearest even, into subnormals too. Adding +0 turns -0 into +0 and changes nothing else.

/** 2^e for e in -1022..1023. */
// @ts-ignore: decorator
@inline
export function power(e: i32): f64 {
  return reinterpret<f64>(<u64>(e + 1023) << 52);
}

/** The one rounding of an exact binary64. */
// @ts-ignore: decorator
@inline
export function roundOnce(exact: f64): f32 {
  return <f32>exact + <f32>0.0;
}

/** Whether an f32's bits, without the sign, are an infinity or a NaN. */
// @ts-ignore: decorator
@inline
export function isBad(magnitudeBits: i32): bool {
  return magnitudeBits >= 0x7f800000;
}

/** Exponent of a row whose largest magnitude has these bits, section 2. */
export function exponentOf(magnitudeBits: i32, bits: i32, floor: i32): i32 {
  if (magnitudeBits == 0) return max(-149, floor);
  const field = magnitudeBits >> 23;
  let m = magnitudeBits & 0x7fffff;
  if (field != 0) m |= 0x800000;
  const shift = clz(m) - 8;
  m <<= shift;
  // The value is m * 2^(place - 23) with 2^23 <= m < 2^24.
  const place = (field == 0 ? 1 : field) - 127 - shift;
  let e = place - bits + 2;
  if (m > (1 << 24) - (1 << (25 - bits))) e += 1;
  return max(min(max(e, -149), 122), floor);
}

/** Section 5; `table` holds 64 u16. */
// @ts-ignore: decorator
@inline
export function exp2Fraction(table: usize, f: u32): u32 {
  const r = f & 1023;
  const a = (r * 45426) >> 10;
  const c = a + ((a * a) >> 23);
  const t = <u32>load<u16>(table + <usize>((f >> 10) << 1));
  return t + ((t * c + (1 << 21)) >> 22);
}

/** Section 7; `table` holds 257 i32. */
export function sinePhase(table: usize, phase: u32): i32 {
  const quarter = phase >> 30;
  let t = (phase >> 12) & 0x3ffff;
  if (quarter & 1) t = 0x40000 - t;
  const i = <usize>(t >> 10);
  const g = <i32>(t & 1023);
  const low = load<i32>(table + (i << 2));
  const high = g == 0 ? 0 : load<i32>(table + (i << 2) + 4);
  const value = (low * (1024 - g) + high * g + 1024) >> 11;
  return quarter < 2 ? value : -value;
}

/** Notes the smallest op index at which a row stopped being finite. Threads may race: the minimum wins. */
export function markBad(status: usize, row: i32, index: i32): void {
  const at = status + (<usize>row << 2);
  let seen = atomic.load<i32>(at);
  while (index < seen) {
    const found = atomic.cmpxchg<i32>(at, seen, index);
    if (found == seen) return;
    seen = found;
  }
}
