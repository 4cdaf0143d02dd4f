// The functions of section 15 that are integer programs. A unit is an element.
//
// Floats: an f32 times an integer of at most 29 bits is exact in binary64, powers of two are too, so each
// `roundOnce` is the only rounding; `nearest` is RNE and `floor` exact. Quotients and roots are integers.

import { address, EXP2, word } from "./layout.as";
import {
  at4,
  ERF,
  failFirst,
  isBadF32,
  LOG,
  LOG_CURVE,
  TABLES,
  TAIL,
  TAIL_TANH,
  TANH,
} from "./graph-record.as";
import { silu } from "./row.as";
import { exp2Fraction, power, roundOnce } from "./scalar.as";

const NOT_A_NUMBER: i32 = 0x7fc00000;
/** `RNE(2^24 ln 2)`. */
const LOG_TWO: i64 = 11629080;

/** |x| log2 e in Q16, at most 2^30; also of an infinity. */
// @ts-ignore: decorator
@inline
export function naturalScore(x: f32): i32 {
  const scaled = <f64>abs<f32>(x) * 6051102.0 * 0.015625;
  return <i32>min<f64>(nearest<f64>(scaled), 1073741824.0);
}

/** `2^(z / 65536)`. */
function powerOfScore(table: usize, z: i32): f32 {
  const u = exp2Fraction(table, <u32>(z & 65535));
  // Beyond 400 places the result is 0 or an infinity, as it is at 400.
  const n = max(min(z >> 16, 400), -400);
  return roundOnce(<f64>u * power(n - 15));
}

function exponential(table: usize, x: f32): f32 {
  const t = naturalScore(x);
  return powerOfScore(table, x < 0 ? -t : t);
}

function exponential2(table: usize, x: f32): f32 {
  const t = <i32>min<f64>(nearest<f64>(<f64>abs<f32>(x) * 65536.0), 1073741824.0);
  return powerOfScore(table, x < 0 ? -t : t);
}

function sigmoid(table: usize, x: f32): f32 {
  const z = -naturalScore(x);
  const k = -(z >> 16);
  const u = exp2Fraction(table, <u32>(z & 65535));
  const e = u >> <u32>min(k, 31);
  if (x >= 0) return roundOnce(<f64>(<u32>0x80000000 / (32768 + e)) * power(-16));
  return roundOnce(<f64>((u << 16) / (32768 + e)) * power(-16 - min(k, 300)));
}

/** `floor(sqrt(2^56 / v))` of an integer; the root of one below 2^35 has the floor of the true one. */
// @ts-ignore: decorator
@inline
export function inverseRoot(v: u64): i64 {
  return <i64>sqrt<f64>(<f64>(((<u64>1) << 56) / v));
}

function inverseSquareRoot(x: f32): f32 {
  if (!(x > 0)) return reinterpret<f32>(NOT_A_NUMBER);
  const bits = reinterpret<i32>(x);
  const field = bits >> 23;
  let m = bits & 0x7fffff;
  if (field != 0) m |= 0x800000;
  const shift = clz(m) - 8;
  m <<= shift;
  const e = (field == 0 ? 1 : field) - 150 - shift;
  const odd = e & 1;
  const j = (e + odd) / 2;
  return roundOnce(<f64>inverseRoot(<u64>(m >> odd)) * power(-28 - j));
}

/** `LN(f)` of section 15. */
export function logMantissa(tables: usize, f: i32): i64 {
  const i = f >> 15;
  const s = <i64>(f & 32767);
  const w = (s * (32768 - s)) >> 15;
  const low = <i64>load<i32>(at4(tables + LOG, i));
  const high = <i64>load<i32>(at4(tables + LOG, i + 1));
  const curve = <i64>load<i32>(at4(tables + LOG_CURVE, i));
  return low + (((high - low) * s + 16384) >> 15) + ((curve * w + 262144) >> 19);
}

/** `(whole * ln 2 + LN(f)) * 2^-24`, rounded once. */
export function logOf(tables: usize, whole: i32, f: i32): f32 {
  return roundOnce(<f64>(<i64>whole * LOG_TWO + logMantissa(tables, f)) * power(-24));
}

function logarithm(tables: usize, x: f32): f32 {
  if (!(x > 0)) return reinterpret<f32>(NOT_A_NUMBER);
  const bits = reinterpret<i32>(x);
  const field = bits >> 23;
  let m = bits & 0x7fffff;
  if (field != 0) m |= 0x800000;
  const shift = clz(m) - 8;
  m <<= shift;
  return logOf(tables, (field == 0 ? 1 : field) - 127 - shift, m - 0x800000);
}

// @ts-ignore: decorator
@inline
function look(table: usize, p: i32): u32 {
  const at = at4(table, p >> 10);
  const g = <u32>(p & 1023);
  return (load<u32>(at) * (1024 - g) + load<u32>(at, 4) * g + 512) >> 10;
}

/** tanh and erf: x times a table of the quotient, of which `limit * scale` is 2^20. */
// @ts-ignore: decorator
@inline
function oddFunction(table: usize, x: f32, limit: f32, scale: f64): f32 {
  const magnitude = abs<f32>(x);
  if (magnitude >= limit) return x < 0 ? -1 : 1;
  const q = look(table, <i32>(<f64>magnitude * scale));
  const y = roundOnce(<f64>x * <f64>q * power(-21));
  return min<f32>(max<f32>(y, -1), 1);
}

// @ts-ignore: decorator
@inline
function gelu(table: usize, x: f32): f32 {
  const magnitude = abs<f32>(x);
  if (magnitude >= 8) return x < 0 ? 0 : x;
  const q = look(table, <i32>(<f64>magnitude * 131072.0));
  return roundOnce(<f64>x * <f64>(x < 0 ? q : 2097152 - q) * power(-21));
}

function apply(op: i32, exp2: usize, tables: usize, x: f32): f32 {
  switch (op) {
    case 0:
      return inverseSquareRoot(x);
    case 1:
      return exponential(exp2, x);
    case 2:
      return exponential2(exp2, x);
    case 3:
      return logarithm(tables, x);
    case 4:
      return oddFunction(tables + TANH, x, 8, 131072.0);
    case 5:
      return sigmoid(exp2, x);
    case 6:
      return oddFunction(tables + ERF, x, 4, 262144.0);
    case 7:
      return gelu(tables + TAIL, x);
    case 8:
      return gelu(tables + TAIL_TANH, x);
    default:
      return silu(exp2, x);
  }
}

/** [4] x, [5] -, [6] out, [7] columns, [8] rsqrt exp exp2 log tanh sigmoid erf gelu gelu-tanh silu */
export function functionRange(control: usize, p: usize, from: i32, to: i32): void {
  const x = address(p, 4);
  const out = address(p, 6);
  const op = word(p, 8);
  const exp2 = address(control + EXP2, 0);
  const tables = address(control + TABLES, 0);
  let good = true;
  for (let i = from; i < to; i++) {
    const y = apply(op, exp2, tables, load<f32>(at4(x, i)));
    store<f32>(at4(out, i), y);
    if (isBadF32(y)) good = false;
  }
  if (!good) failFirst(p, out, from, to, word(p, 7));
}
