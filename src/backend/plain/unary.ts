// The unary functions of graphs once more, in plain numbers: every intermediate is an integer below 2^53 or such
// an integer times a power of two, so each step is exact. Shares no program with the oracle or the kernels, only
// tables; fast enough to be held beside a device on millions of inputs.

import {
  erfTable,
  EXP2_TABLE,
  LOG_TWO,
  logCurveTable,
  logTable,
  powerOfTwo,
  SILU_LOG2E,
  tailTable,
  tailTanhTable,
  tanhTable,
} from "gyrotron/numerics";
import type { UnaryOp } from "gyrotron/tensor";

/** Each function on one finite f32; NaN where the definition says that the result is not finite. */
export const PLAIN_UNARY: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => 0 - x,
  abs: (x) => (x < 0 ? 0 - x : x),
  relu: (x) => (x > 0 ? x : 0),
  sqrt,
  rsqrt,
  exp: (x) => power(score(x, SILU_LOG2E, -6), x < 0),
  exp2: (x) => power(score(x, 1, 16), x < 0),
  log,
  sigmoid: (x) => sigmoidParts(x, 1, 0),
  silu: (x) => {
    const [mantissa, exponent] = split(x);
    return sigmoidParts(x, mantissa, exponent);
  },
  tanh: (x) => bounded(x, 8, tanhTable(), 17),
  erf: (x) => bounded(x, 4, erfTable(), 18),
  gelu: (x) => gated(x, tailTable()),
  "gelu-tanh": (x) => gated(x, tailTanhTable()),
};

/** The nearest f32 to `mantissa * 2^exponent`, ties to even, for an integer below 2^53; NaN beyond the range. */
export function nearestF32(mantissa: number, exponent: number): number {
  if (mantissa === 0) return 0;
  const magnitude = Math.abs(mantissa);
  let length = 0;
  for (let rest = magnitude; rest >= 1; rest /= 65536) length += rest >= 65536 ? 16 : bits16(rest);
  // How many places fall off: all but 24, and all below the last of a subnormal.
  const drop = Math.max(length - 24, -149 - exponent);
  const rounded = drop > 0 ? roundQuotient(magnitude, drop) : magnitude;
  const e = drop > 0 ? exponent + drop : exponent;
  if (rounded === 0) return 0;
  if (e > 200 || rounded * powerOfTwo(e) >= powerOfTwo(128)) return NaN;
  const value = rounded * powerOfTwo(e);
  return mantissa < 0 ? -value : value;
}

function bits16(value: number): number {
  return 32 - Math.clz32(value);
}

/** `value / 2^places` to the nearest integer, ties to even. */
function roundQuotient(value: number, places: number): number {
  if (places > 60) return 0;
  const unit = powerOfTwo(places);
  const low = Math.floor(value / unit);
  const rest = value - low * unit;
  if (rest > unit / 2) return low + 1;
  if (rest < unit / 2) return low;
  return low % 2 === 0 ? low : low + 1;
}

const words = new DataView(new ArrayBuffer(4));

/** Integer mantissa, with the sign, and exponent. */
function split(x: number): [number, number] {
  words.setFloat32(0, x);
  const bits = words.getInt32(0);
  const field = (bits >>> 23) & 255;
  const fraction = bits & 0x7fffff;
  const mantissa = field === 0 ? fraction : fraction + 0x800000;
  return [bits < 0 ? 0 - mantissa : mantissa, (field === 0 ? 1 : field) - 150];
}

/** Mantissa of 24 bits and its exponent, of a positive value. */
function splitFull(x: number): [number, number] {
  let [mantissa, exponent] = split(x);
  while (mantissa < 0x800000) {
    mantissa *= 2;
    exponent -= 1;
  }
  return [mantissa, exponent];
}

/** `|x| * factor * 2^shift` to the nearest integer, at most 2^30; the product has at most 47 bits. */
function score(x: number, factor: number, shift: number): number {
  const [mantissa, exponent] = split(x);
  const product = Math.abs(mantissa) * factor;
  const places = exponent + shift;
  if (places >= 0)
    return places > 60 && product > 0 ? 2 ** 30 : Math.min(2 ** 30, product * 2 ** places);
  return Math.min(2 ** 30, roundQuotient(product, 0 - places));
}

/** `2^(f/65536)` in Q15. */
function fraction(f: number): number {
  const r = f % 1024;
  const a = Math.floor((r * 45426) / 1024);
  const c = a + Math.floor((a * a) / 8388608);
  const t = EXP2_TABLE[Math.floor(f / 1024)]!;
  return t + Math.floor((t * c + 2097152) / 4194304);
}

function power(t: number, isNegative: boolean): number {
  const z = isNegative ? 0 - t : t;
  const n = Math.floor(z / 65536);
  return nearestF32(fraction(z - n * 65536), n - 15);
}

/** `mantissa * 2^exponent` times the sigmoid of x. */
function sigmoidParts(x: number, mantissa: number, exponent: number): number {
  const t = score(x, SILU_LOG2E, -6);
  const k = Math.ceil(t / 65536);
  const u = fraction(k * 65536 - t);
  const e = k > 16 ? 0 : Math.floor(u / 2 ** k);
  if (x >= 0) return nearestF32(mantissa * Math.floor(2147483648 / (32768 + e)), exponent - 16);
  return nearestF32(mantissa * Math.floor((u * 65536) / (32768 + e)), exponent - 16 - k);
}

function sqrt(x: number): number {
  if (x < 0) return NaN;
  if (x === 0) return 0;
  let [mantissa, exponent] = splitFull(x);
  if (exponent % 2 !== 0) {
    mantissa *= 2;
    exponent -= 1;
  }
  // 48 to 50 bits under the root: 24 or 25 bits of it, and one more for what is behind.
  const square = mantissa * 2 ** 26;
  const root = floorRoot(square);
  const isExact = root * root === square;
  return nearestF32(2 * root + (isExact ? 0 : 1), exponent / 2 - 14);
}

/** The largest integer whose square is at most `value`, below 2^52. */
function floorRoot(value: number): number {
  let root = Math.floor(Math.sqrt(value));
  while (root * root > value) root--;
  while ((root + 1) * (root + 1) <= value) root++;
  return root;
}

function rsqrt(x: number): number {
  if (x <= 0) return NaN;
  const [mantissa, exponent] = splitFull(x);
  const isOdd = exponent % 2 !== 0;
  const v = isOdd ? Math.floor(mantissa / 2) : mantissa;
  // 2^56 / v in two digits of 2^28: the quotient of the first leaves a rest below v.
  const high = Math.floor(2 ** 28 / v);
  const low = Math.floor(((2 ** 28 - high * v) * 2 ** 28) / v);
  const root = floorRoot(high * 2 ** 28 + low);
  return nearestF32(root, -28 - (isOdd ? exponent + 1 : exponent) / 2);
}

function log(x: number): number {
  if (x <= 0) return NaN;
  const [mantissa, exponent] = splitFull(x);
  const f = mantissa - 0x800000;
  const i = Math.floor(f / 32768);
  const s = f % 32768;
  const w = Math.floor((s * (32768 - s)) / 32768);
  const [low, high] = [logTable()[i]!, logTable()[i + 1]!];
  const line = Math.floor(((high - low) * s + 16384) / 32768);
  const curve = Math.floor((logCurveTable()[i]! * w + 262144) / 524288);
  return nearestF32((exponent + 23) * LOG_TWO + low + line + curve, -24);
}

/** Between two entries of a table of 1024 steps of 1024. */
function look(table: Int32Array, place: number): number {
  const i = Math.floor(place / 1024);
  const g = place % 1024;
  return Math.floor((table[i]! * (1024 - g) + table[i + 1]! * g + 512) / 1024);
}

function bounded(x: number, end: number, table: Int32Array, shift: number): number {
  const sign = x < 0 ? -1 : 1;
  const magnitude = x * sign;
  if (magnitude >= end) return sign;
  const [mantissa, exponent] = split(magnitude);
  const slope = look(table, Math.floor(magnitude * 2 ** shift));
  const y = nearestF32(mantissa * slope, exponent - 21);
  return y > 1 ? sign : sign * y + 0;
}

function gated(x: number, tail: Int32Array): number {
  const magnitude = Math.abs(x);
  if (magnitude >= 8) return x < 0 ? 0 : x;
  const share = look(tail, Math.floor(magnitude * 131072));
  const [mantissa, exponent] = split(x);
  return nearestF32(mantissa * (x < 0 ? share : 2097152 - share), exponent - 21);
}
