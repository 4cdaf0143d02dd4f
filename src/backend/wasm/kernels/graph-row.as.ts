// Ops on whole rows (docs/spec/01-numerics.md sections 2, 6, 7, 14, 16, 17). A unit is a row along the last
// axis; mantissas are i16, `padded` to a row with zeros.
//
// Floats: integers below 2^53 times powers of two in binary64 and one rounding; single operations of
// binary32. A quotient `w / (D * 2^e)` is further from a half than binary64 rounds, or is one.

import { rotateSlice } from "./attention.as";
import { logOf, NATURAL } from "./graph-function.as";
import {
  exp2Lanes,
  highF64,
  lowF64,
  powersOfTwo,
  roundLanes,
  scoreLanes,
  upper,
} from "./graph-lanes.as";
import {
  at4,
  failFirst,
  failRow,
  isBadF32,
  TABLES,
} from "./graph-record.as";
import { address, EXP2, SINES, word } from "./layout.as";
import { layerNormRow, rmsNormRow } from "./norm.as";
import { largestBits, quantizeRow } from "./row.as";
import { power, roundOnce, sinePhase } from "./scalar.as";

/** [4] x, [5] columns, [6] out, [7] exponents, [8] padded, [9] bits */
export function quantizeRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  const padded = word(p, 8);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    const out = address(p, 6) + <usize>row * (<usize>padded << 1);
    store<i32>(at4(address(p, 7), row), quantizeRow(x, n, padded, word(p, 9), -149, out));
  }
}

/** [4] x, [5] columns, [6] out, [7] exponents, [8] padded, [9] bits, [10] scales */
export function quantizeColumnsRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  const padded = word(p, 8);
  const limit = <f64>((1 << (word(p, 9) - 1)) - 1);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    const out = address(p, 6) + <usize>row * (<usize>padded << 1);
    const bits = largestBits(x, n);
    const largest = <f64>reinterpret<f32>(bits);
    // 255 * limit is below 2^21, so this is at most the exponent sought, and 31 steps reach it.
    let e = max(-149, max(1, bits >> 23) - 127 - 22);
    if (bits < 0x800000) e = -149;
    while (e < 122 && largest > limit * 255 * power(e)) e += 1;
    let scale = 128;
    while (scale < 255 && largest > limit * <f64>scale * power(e)) scale += 1;
    const unit = <f64>scale * power(e);
    const units = f64x2.splat(unit);
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const lanes = v128.load(at4(x, i));
      const low = i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(f64x2.div(lowF64(lanes), units)));
      const high = i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(f64x2.div(highF64(lanes), units)));
      const four = v128.shuffle<i64>(low, high, 0, 2);
      v128.store_lane<i64>(out + (<usize>i << 1), i16x8.narrow_i32x4_s(four, four), 0);
    }
    for (; i < n; i++) {
      store<i16>(out + (<usize>i << 1), <i16>nearest<f64>(<f64>load<f32>(at4(x, i)) / unit));
    }
    for (; i < padded; i++) store<i16>(out + (<usize>i << 1), 0);
    store<i32>(at4(address(p, 7), row), e);
    store<i32>(at4(address(p, 10), row), scale);
  }
}

/**
 * [4] mantissas, [5] columns, [6] out, [7] exponents, [8] padded, [9] scales or 0. Floats: m * D has at most 22
 * bits and 2^e is at least 2^-149, both exact in binary32; so is their product but where it is no f32 at all. No
 * product is -0, as none but that of 0 is 0.
 */
export function dequantizeRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const m = address(p, 4) + <usize>row * (<usize>word(p, 8) << 1);
    const out = address(p, 6) + <usize>row * (<usize>n << 2);
    const scale = address(p, 9) == 0 ? 1 : load<i32>(at4(address(p, 9), row));
    const scales = f32x4.convert_i32x4_s(i32x4.splat(scale));
    const factor = f32x4.splat(<f32>power(load<i32>(at4(address(p, 7), row))));
    let largest = i32x4.splat(0);
    let i = 0;
    for (; i + 8 <= n; i += 8) {
      const x = v128.load(m + (<usize>i << 1));
      const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x));
      const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x));
      const a = f32x4.mul(f32x4.mul(low, scales), factor);
      const b = f32x4.mul(f32x4.mul(high, scales), factor);
      v128.store(at4(out, i), a);
      v128.store(at4(out, i), b, 16);
      largest = i32x4.max_u(largest, i32x4.max_u(i32x4.shl(a, 1), i32x4.shl(b, 1)));
    }
    for (; i < n; i += 4) {
      // Rows are padded to 8 mantissas, which are zeros.
      const x = f32x4.convert_i32x4_s(v128.load_ext<i16>(m + (<usize>i << 1)));
      const y = f32x4.mul(f32x4.mul(x, scales), factor);
      storeSome(at4(out, i), y, n - i);
      largest = i32x4.max_u(largest, i32x4.shl(y, 1));
    }
    if (v128.any_true(i32x4.eq(i32x4.shr_u(largest, 24), i32x4.splat(255)))) failRow(p, row);
  }
}

/** Stores the first `count` of four lanes. */
// @ts-ignore: decorator
@inline
function storeSome(out: usize, x: v128, count: i32): void {
  if (count >= 4) {
    v128.store(out, x);
    return;
  }
  v128.store_lane<i32>(out, x, 0);
  if (count > 1) v128.store_lane<i32>(out, x, 1, 4);
  if (count > 2) v128.store_lane<i32>(out, x, 2, 8);
}

/** Four elements, of which those from `count` on are 0. */
// @ts-ignore: decorator
@inline
function loadSome(x: usize, count: i32): v128 {
  if (count >= 4) return v128.load(x);
  let lanes = v128.load32_zero(x);
  if (count > 1) lanes = v128.load_lane<u32>(x, lanes, 1, 4);
  if (count > 2) lanes = v128.load_lane<u32>(x, lanes, 2, 8);
  return lanes;
}

/** [4] x, [5] columns, [6] out, [7..9] epsilon's mantissa, exponent, floor */
export function rmsNormRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  let x = address(p, 4) + <usize>from * (<usize>n << 2);
  let y = address(p, 6) + <usize>from * (<usize>n << 2);
  let largest = largestBits(x, n);
  for (let row = from; row < to; row++) {
    const step = row + 1 < to ? <usize>n << 2 : 0;
    largest = rmsNormRow(x, n, word(p, 7), word(p, 8), word(p, 9), y, largest, step);
    x += step;
    y += step;
  }
}

/** Words of rmsNormRange */
export function layerNormRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  let x = address(p, 4) + <usize>from * (<usize>n << 2);
  let y = address(p, 6) + <usize>from * (<usize>n << 2);
  let largest = largestBits(x, n);
  for (let row = from; row < to; row++) {
    const step = row + 1 < to ? <usize>n << 2 : 0;
    largest = layerNormRow(x, n, word(p, 7), word(p, 8), word(p, 9), y, largest, step);
    x += step;
    y += step;
  }
}

/** The largest of n values, n at least 1. There is no NaN and no -0, so `pmax` is the maximum. */
function largestOf(x: usize, n: i32): f32 {
  let i = 0;
  let result = load<f32>(x);
  if (n >= 8) {
    let wide = v128.load(x);
    let other = v128.load(x, 16);
    for (i = 8; i + 8 <= n; i += 8) {
      wide = f32x4.pmax(wide, v128.load(at4(x, i)));
      other = f32x4.pmax(other, v128.load(at4(x, i), 16));
    }
    wide = f32x4.pmax(wide, other);
    result = max<f32>(
      max<f32>(f32x4.extract_lane(wide, 0), f32x4.extract_lane(wide, 1)),
      max<f32>(f32x4.extract_lane(wide, 2), f32x4.extract_lane(wide, 3)),
    );
  }
  for (; i < n; i++) result = max<f32>(result, load<f32>(at4(x, i)));
  return result;
}

/** [4] x, [5] columns, [6] out */
export function reduceMaxRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    store<f32>(at4(address(p, 6), row), largestOf(x, n));
  }
}

/** The lowest index of the largest of n values. */
export function argmaxOf(x: usize, n: i32): i32 {
  const largest = largestOf(x, n);
  const wanted = f32x4.splat(largest);
  let i = 0;
  while (i + 4 <= n && !v128.any_true(f32x4.eq(v128.load(at4(x, i)), wanted))) i += 4;
  while (load<f32>(at4(x, i)) != largest) i += 1;
  return i;
}

/** [4] x, [5] columns, [6] out */
export function argmaxRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    store<i32>(at4(address(p, 6), row), argmaxOf(x, n));
  }
}

/** `floor(u * 2^(16 - down))` of two lanes, as exact binary64. */
// @ts-ignore: decorator
@inline
function partPair(u: v128, down: v128): v128 {
  const places = i32x4.sub(i32x4.splat(16), i32x4.min_s(down, i32x4.splat(300)));
  return f64x2.floor(f64x2.mul(f64x2.convert_low_i32x4_u(u), powersOfTwo(places)));
}

/**
 * Each value's power of two below the maximum, as `u + (-n << 16)` (n is at least -2^14); returns the sum L.
 * Floats: one difference of binary32, which may be an infinity, and its score; parts are integers below 2^32
 * and at most 2^20 of them, so they add up exactly in any order.
 */
function powersOf(table: usize, x: usize, n: i32, top: f32, out: usize): u64 {
  const tops = f32x4.splat(top);
  let total = f64x2.splat(0);
  for (let i = 0; i < n; i += 4) {
    const t = scoreLanes(f32x4.sub(tops, loadSome(at4(x, i), n - i)), NATURAL);
    const down = i32x4.shr_u(i32x4.add(t, i32x4.splat(65535)), 16);
    let u = exp2Lanes(table, i32x4.neg(t));
    storeSome(at4(out, i), v128.or(u, i32x4.shl(down, 16)), n - i);
    if (n - i < 4) u = v128.and(u, i32x4.gt_s(i32x4.splat(n - i), i32x4(0, 1, 2, 3)));
    total = f64x2.add(total, f64x2.add(partPair(u, down), partPair(upper(u), upper(down))));
  }
  return <u64>(f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1));
}

/** `u * r * 2^-(down + j + 31)` of two lanes: u and r have 16 and 25 bits. Below 2^-400 all is 0. */
// @ts-ignore: decorator
@inline
function sharePair(packed: v128, reciprocal: v128, j: v128): v128 {
  const down = i32x4.min_u(i32x4.shr_u(packed, 16), i32x4.splat(400));
  const u = f64x2.convert_low_i32x4_u(v128.and(packed, i32x4.splat(65535)));
  return f64x2.mul(f64x2.mul(u, reciprocal), powersOfTwo(i32x4.sub(j, down)));
}

/** [4] x, [5] columns, [6] out, [7] rows that see 1 more column each, or 0 */
export function softmaxRange(control: usize, p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  const rows = word(p, 7);
  for (let row = from; row < to; row++) {
    const at = <usize>row * (<usize>n << 2);
    const x = address(p, 4) + at;
    const y = address(p, 6) + at;
    const count = rows == 0 ? n : n - rows + (row % rows) + 1;
    memory.fill(at4(y, count), 0, <usize>(n - count) << 2);
    if (count == 0) continue;
    const total = powersOf(address(control + EXP2, 0), x, count, largestOf(x, count), y);
    const j = 40 - <i32>clz<u64>(total);
    const head = j >= 0 ? total >> j : total << -j;
    const reciprocal = f64x2.splat(<f64>((<u64>1 << 47) / head));
    const places = i32x4.splat(-j - 31);
    for (let i = 0; i < count; i += 4) {
      const packed = loadSome(at4(y, i), count - i);
      const low = sharePair(packed, reciprocal, places);
      const high = sharePair(upper(packed), reciprocal, places);
      storeSome(at4(y, i), roundLanes(low, high), count - i);
    }
  }
}

/** `lse` of section 17 from the sum L. */
function logOfTotal(tables: usize, total: u64): f32 {
  const k = 40 - <i32>clz<u64>(total);
  const m = k >= 0 ? total >> k : total << -k;
  return logOf(tables, k - 8, <i32>m - 0x800000);
}

/** [4] x, [5] columns, [6] out */
export function logSoftmaxRange(control: usize, p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  if (n == 0) return;
  for (let row = from; row < to; row++) {
    const at = <usize>row * (<usize>n << 2);
    const x = address(p, 4) + at;
    const y = address(p, 6) + at;
    const top = largestOf(x, n);
    const total = powersOf(address(control + EXP2, 0), x, n, top, y);
    const lse = logOfTotal(address(control + TABLES, 0), total);
    for (let i = 0; i < n; i += 4) {
      const below = f32x4.sub(loadSome(at4(x, i), n - i), f32x4.splat(top));
      storeSome(at4(y, i), f32x4.sub(below, f32x4.splat(lse)), n - i);
    }
    failFirst(p, address(p, 6), row * n, row * n + n, n);
  }
}

/** [4] x, [5] columns, [6] out, [7] targets; they have been checked */
export function crossEntropyRange(
  control: usize,
  p: usize,
  scratch: usize,
  from: i32,
  to: i32,
): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    const top = largestOf(x, n);
    const total = powersOf(address(control + EXP2, 0), x, n, top, scratch);
    const lse = logOfTotal(address(control + TABLES, 0), total);
    const target = load<i32>(at4(address(p, 7), row));
    const y = lse - (load<f32>(at4(x, target)) - top);
    store<f32>(at4(address(p, 6), row), y);
    if (isBadF32(y)) failRow(p, row);
  }
}

/** [4] steps, [5] pairs, [6] out: cosine and sine of each pair, [7] positions, [8] 1 to turn back */
export function anglesRange(control: usize, p: usize, from: i32, to: i32): void {
  const pairs = word(p, 5);
  const table = address(control + SINES, 0);
  for (let row = from; row < to; row++) {
    const position = load<u32>(at4(address(p, 7), row));
    const out = address(p, 6) + <usize>row * (<usize>pairs << 3);
    for (let i = 0; i < pairs; i++) {
      const phase = position * load<u32>(at4(address(p, 4), i));
      const sine = sinePhase(table, phase);
      store<i32>(at4(out, 2 * i), sinePhase(table, phase + 0x40000000));
      store<i32>(at4(out, 2 * i + 1), word(p, 8) != 0 ? -sine : sine);
    }
  }
}

/** [4] x, [5] size, [6] out, [7] angles, [8] heads, [9] interleaved; a unit is a head */
export function rotaryRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const size = word(p, 5);
  const bytes = <usize>size << 2;
  for (let unit = from; unit < to; unit++) {
    const angles = address(p, 7) + <usize>(unit / word(p, 8)) * bytes;
    const at = <usize>unit * bytes;
    const x = address(p, 4) + at;
    const y = address(p, 6) + at;
    const padded = (size + 7) & ~7;
    if (!rotateSlice(x, size, padded, angles, word(p, 9) != 0, scratch, y)) failRow(p, unit);
  }
}
