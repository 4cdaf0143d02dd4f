// Four elements at a time: the steps that functions, softmax and attention share (docs/spec/01-numerics.md
// sections 5, 8, 9 and 15), the same integers as one by one.
//
// Floats: a binary32 times an integer of 24 bits is exact in binary64, so is a power of two; `nearest`, `floor`
// and conversions of integers below 2^53 are exact.

/** The first two lanes of an f32x4 as f64x2. */
// @ts-ignore: decorator
@inline
export function lowF64(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

/** The last two lanes of an f32x4 as f64x2. */
// @ts-ignore: decorator
@inline
export function highF64(x: v128): v128 {
  return f64x2.promote_low_f32x4(upper(x));
}

/** The last two lanes of a vector of four, first. */
// @ts-ignore: decorator
@inline
export function upper(x: v128): v128 {
  return v128.shuffle<i64>(x, x, 1, 1);
}

/** Two exact f64x2 rounded to one f32x4; -0 becomes +0. */
// @ts-ignore: decorator
@inline
export function roundLanes(low: v128, high: v128): v128 {
  const joined = v128.shuffle<i64>(
    f32x4.demote_f64x2_zero(low),
    f32x4.demote_f64x2_zero(high),
    0,
    2,
  );
  return f32x4.add(joined, f32x4.splat(0));
}

/** `2^e` of the first two lanes of an i32x4, each in -1022..1023. */
// @ts-ignore: decorator
@inline
export function powersOfTwo(e: v128): v128 {
  return i64x2.shl(i64x2.add(i64x2.extend_low_i32x4_s(e), i64x2.splat(1023)), 52);
}

// @ts-ignore: decorator
@inline
function scorePair(x: v128, factor: f64): v128 {
  const scaled = f64x2.nearest(f64x2.mul(x, f64x2.splat(factor)));
  return i32x4.trunc_sat_f64x2_s_zero(f64x2.min(scaled, f64x2.splat(1073741824.0)));
}

/** `min(2^30, RNE(x * factor))` of magnitudes, infinities included. */
// @ts-ignore: decorator
@inline
export function scoreLanes(x: v128, factor: f64): v128 {
  return v128.shuffle<i64>(scorePair(lowF64(x), factor), scorePair(highF64(x), factor), 0, 2);
}

/** Section 5 of the lower 16 bits of each lane; `table` holds 64 u16. */
// @ts-ignore: decorator
@inline
export function exp2Lanes(table: usize, z: v128): v128 {
  const places = i32x4.shl(v128.and(i32x4.shr_u(z, 10), i32x4.splat(63)), 1);
  let t = i32x4.splat(0);
  t = v128.load_lane<u16>(table + <usize>i32x4.extract_lane(places, 0), t, 0);
  t = v128.load_lane<u16>(table + <usize>i32x4.extract_lane(places, 1), t, 2);
  t = v128.load_lane<u16>(table + <usize>i32x4.extract_lane(places, 2), t, 4);
  t = v128.load_lane<u16>(table + <usize>i32x4.extract_lane(places, 3), t, 6);
  const r = v128.and(z, i32x4.splat(1023));
  const a = i32x4.shr_u(i32x4.mul(r, i32x4.splat(45426)), 10);
  const c = i32x4.add(a, i32x4.shr_u(i32x4.mul(a, a), 23));
  const rest = i32x4.add(i32x4.mul(t, c), i32x4.splat(1 << 21));
  return i32x4.add(t, i32x4.shr_u(rest, 22));
}

/**
 * The share `min(32767, (u + 2^k) >> (k + 1))` for k >= 0 and u <= 65536, as `floor(u * 2^-(k + 1) + 0.5)` in
 * binary32: exact up to k = 22, and from k = 17 on below 1 however the sum is rounded.
 */
// @ts-ignore: decorator
@inline
export function shareLanes(u: v128, k: v128): v128 {
  const places = i32x4.sub(i32x4.splat(126), i32x4.min_s(k, i32x4.splat(60)));
  const scaled = f32x4.mul(f32x4.convert_i32x4_s(u), i32x4.shl(places, 23));
  const rounded = i32x4.trunc_sat_f32x4_s(f32x4.add(scaled, f32x4.splat(0.5)));
  return i32x4.min_s(rounded, i32x4.splat(32767));
}

/** `look(T, p)` of section 15; `table` holds 1025 i32 and p is below 2^20. */
// @ts-ignore: decorator
@inline
export function lookLanes(table: usize, p: v128): v128 {
  const places = i32x4.shl(i32x4.shr_u(p, 10), 2);
  let first = i64x2.splat(0);
  let second = first;
  first = v128.load_lane<u64>(table + <usize>i32x4.extract_lane(places, 0), first, 0);
  first = v128.load_lane<u64>(table + <usize>i32x4.extract_lane(places, 1), first, 1);
  second = v128.load_lane<u64>(table + <usize>i32x4.extract_lane(places, 2), second, 0);
  second = v128.load_lane<u64>(table + <usize>i32x4.extract_lane(places, 3), second, 1);
  const low = v128.shuffle<i32>(first, second, 0, 2, 4, 6);
  const high = v128.shuffle<i32>(first, second, 1, 3, 5, 7);
  const g = v128.and(p, i32x4.splat(1023));
  const sum = i32x4.add(
    i32x4.mul(low, i32x4.sub(i32x4.splat(1024), g)),
    i32x4.add(i32x4.mul(high, g), i32x4.splat(512)),
  );
  return i32x4.shr_u(sum, 10);
}
