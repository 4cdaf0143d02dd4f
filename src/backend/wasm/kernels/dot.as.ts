// The steps that tiles of a product share: loading weights, adding dot products, handing on what i32 could not
// hold, and rounding. Nothing here knows rows, columns or memory layouts.
//
// Partial sums stay in i32 lanes for `spill` blocks, the proven bound. Then their upper halves move on to a
// second vector of i32 and the lower halves stay, so that `2^16 * uppers + lowers` is the exact sum.
//
// Floats: upper and lower sums are integers below 2^31, the sum times D is below 2^53, D * 2^e is stored as
// binary64: `(uppers * 65536 + lowers) * D2e * 2^ea` is exact and the demotion rounds once.

/** Eight mantissas of a group's first column as i16. Offsets must be immediates to cost nothing. */
// @ts-ignore: decorator
@inline
export function weights0<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 0);
  return v128.load(at, 0);
}

// @ts-ignore: decorator
@inline
export function weights1<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 8);
  return v128.load(at, 16);
}

// @ts-ignore: decorator
@inline
export function weights2<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 16);
  return v128.load(at, 32);
}

// @ts-ignore: decorator
@inline
export function weights3<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 24);
  return v128.load(at, 48);
}

/** The same of the next block. */
// @ts-ignore: decorator
@inline
export function next0<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 32);
  return v128.load(at, 64);
}

// @ts-ignore: decorator
@inline
export function next1<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 40);
  return v128.load(at, 80);
}

// @ts-ignore: decorator
@inline
export function next2<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 48);
  return v128.load(at, 96);
}

// @ts-ignore: decorator
@inline
export function next3<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at, 56);
  return v128.load(at, 112);
}

// @ts-ignore: decorator
@inline
export function addDot(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

/**
 * What a partial sum hands on before it may overflow: its lanes' upper halves, rounded down. The lower halves,
 * 0..65535, stay. K <= 65536 means at most 8192 spills, so four lanes' upper halves sum to at most 2^30.
 */
// @ts-ignore: decorator
@inline
export function addUpper(uppers: v128, partial: v128): v128 {
  return i32x4.add(uppers, i32x4.shr_s(partial, 16));
}

// @ts-ignore: decorator
@inline
export function keepLower(partial: v128): v128 {
  // As a shuffle with zeros, because a constant mask would be made anew for each use.
  return v128.shuffle<i16>(partial, i32x4.splat(0), 0, 9, 2, 11, 4, 13, 6, 15);
}

/** The sums of the lanes of four vectors, as one vector. */
// @ts-ignore: decorator
@inline
export function laneSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/** The two lower lanes as binary64. */
// @ts-ignore: decorator
@inline
export function lowPair(v: v128): v128 {
  return f64x2.convert_low_i32x4_s(v);
}

// @ts-ignore: decorator
@inline
export function highPair(v: v128): v128 {
  return f64x2.convert_low_i32x4_s(v128.shuffle<i64>(v, v, 1, 1));
}

/** The exact total of upper and lower halves: an integer below 2^53. */
// @ts-ignore: decorator
@inline
export function whole(uppers: v128, lowers: v128): v128 {
  return f64x2.add(f64x2.mul(uppers, f64x2.splat(65536.0)), lowers);
}

/** Stores two outputs, each rounded once, and returns their bits shifted left by the sign; upper lanes 0. */
// @ts-ignore: decorator
@inline
export function storePair(totals: v128, scales: v128, factor: v128, out: usize): v128 {
  const exact = f64x2.mul(f64x2.mul(totals, scales), factor);
  const value = f32x4.add(f32x4.demote_f64x2_zero(exact), f32x4.splat(0));
  v128.store64_lane(out, value, 0);
  return i32x4.shl(value, 1);
}

// @ts-ignore: decorator
@inline
export function anyBad(magnitudes: v128): bool {
  return v128.any_true(i32x4.eq(i32x4.shr_u(magnitudes, 24), i32x4.splat(255)));
}
