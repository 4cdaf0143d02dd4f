// The steps that products share, of matrices and of attention: adding dot products, handing on what i32 could
// not hold, adding lanes, and making binary64 of exact sums. Nothing here knows rows, columns or memory layouts.
//
// Partial sums stay in i32 lanes for as many terms as provably fit. Then their upper halves move on to a second
// vector of i32 and the lower halves stay, so that `2^16 * uppers + lowers` is the exact sum.

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

// @ts-ignore: decorator
@inline
export function anyBad(magnitudes: v128): bool {
  return v128.any_true(i32x4.eq(i32x4.shr_u(magnitudes, 24), i32x4.splat(255)));
}
