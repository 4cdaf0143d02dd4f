// The short integer programs of docs/spec/01-numerics.md, in BigInt: quantize, exp2, inverse square
// root of the norm, sine, attention weights, SiLU. Reference only: no backend imports them.

import { assert } from "gyrotron/base";
import {
  bitLength,
  decodeF32,
  floorDivide,
  floorScaled,
  integerSqrt,
  roundDivide,
  roundScaled,
  roundToF32,
} from "./round.ts";
import { EXP2_TABLE, SILU_LOG2E, SINE_TABLE } from "./table.ts";

/** Integers with a common exponent: `mantissas[i] * 2^exponent`. */
export interface BfpRow {
  readonly mantissas: bigint[];
  readonly exponent: number;
}

/** One column of weights: `mantissas[k] * scale * 2^exponent`. */
export interface BfpColumn extends BfpRow {
  readonly scale: number;
}

export const EXPONENT_MIN = -149;
export const EXPONENT_MAX = 122;

/** Whether `m <= limit * 2^e`, for a dyadic `m`. */
function fits(m: { mantissa: bigint; exponent: number }, limit: bigint, e: number): boolean {
  const low = Math.min(m.exponent, e);
  return m.mantissa << BigInt(m.exponent - low) <= limit << BigInt(e - low);
}

function largestMagnitude(row: ArrayLike<number>): { mantissa: bigint; exponent: number } {
  let largest = 0;
  for (let i = 0; i < row.length; i++) largest = Math.max(largest, Math.abs(row[i]!));
  return decodeF32(largest);
}

/** Section 2. @throws AssertionError on a value that is not a finite f32 */
export function quantizeRow(
  row: ArrayLike<number>,
  bits: number,
  floor: number = EXPONENT_MIN,
): BfpRow {
  assert(bits >= 8 && bits <= 24, "width out of range");
  const largest = largestMagnitude(row);
  const limit = (1n << BigInt(bits - 1)) - 1n;
  let exponent = EXPONENT_MIN;
  while (exponent < EXPONENT_MAX && !fits(largest, limit, exponent)) exponent++;
  exponent = Math.max(exponent, floor);
  const mantissas = Array.from({ length: row.length }, (_, i) => {
    const { mantissa, exponent: e } = decodeF32(row[i]!);
    return roundScaled(mantissa, e - exponent);
  });
  return { mantissas, exponent };
}

/** How far from the least multiplier that covers a block better ones are looked for, section 2.2. */
export const BLOCK_SCALES_BELOW = 2;
export const BLOCK_SCALES_ABOVE = 9;

/** Section 2.2: 8 bits, with a multiplier for each 32 weights. */
export function quantizeBlockColumn(
  column: ArrayLike<number>,
): BfpColumn & { blockScales: number[] } {
  const largest = largestMagnitude(column);
  const { exponent, scale } = columnGrid(largest, 127n * 64n);
  const weights = Array.from({ length: column.length }, (_, k) => column[k]!);
  const mantissas: bigint[] = [];
  const blockScales: number[] = [];
  for (let start = 0; start < weights.length; start += 32) {
    const block = weights.slice(start, start + 32);
    const onGrid = block.map((w) => w * 2 ** -exponent);
    const least = leastCovering(block, scale, exponent);
    let best = { error: Infinity, m: 0 };
    const last = Math.min(64, least + BLOCK_SCALES_ABOVE);
    for (let m = Math.max(1, least - BLOCK_SCALES_BELOW); m <= last; m++) {
      const error = blockError(onGrid, m * scale);
      if (error < best.error) best = { error, m };
    }
    const step = BigInt(best.m * scale);
    mantissas.push(...block.map((w) => clampMantissa(mantissaOf(w, step, exponent))));
    blockScales.push(best.m);
  }
  return { mantissas, exponent, scale, blockScales };
}

/** A block of weights as its file has it: `low + level * step`; both are multiples of 2^-24 below 2^22. */
export interface LevelBlock {
  /** 0..15 each, 32 of them. */
  readonly levels: readonly number[];
  readonly step: number;
  readonly low: number;
}

/** Section 2.3: levels of 4 bits, with a multiplier and an offset for each 32 weights. */
export function quantizeLevelColumn(
  column: readonly LevelBlock[],
): BfpColumn & { blockScales: number[]; blockOffsets: number[] } {
  // In units of 2^-25, so that 7.5 steps are an integer.
  const blocks = column.map(({ levels, step, low }) => {
    const [d, first] = [BigInt(step * 2 ** 24) * 2n, BigInt(low * 2 ** 24) * 2n];
    if (d >= 0n) return { levels, step: d, low: first };
    return { levels: levels.map((q) => 15 - q), step: -d, low: first + 15n * d };
  });
  let largest = 0n;
  for (const { step, low } of blocks) {
    for (const end of [low, low + 15n * step]) {
      const magnitude = end < 0n ? -end : end;
      if (magnitude > largest) largest = magnitude;
    }
  }
  const { exponent, scale } = columnGrid({ mantissa: largest, exponent: -25 }, 8186n);
  const up = (n: bigint): bigint => n << BigInt(Math.max(0, -25 - exponent));
  const unit = BigInt(scale) << BigInt(Math.max(0, exponent + 25));
  const blockScales = blocks.map(({ step }) => roundDivide(up(step), unit));
  const blockOffsets = blocks.map(({ step, low }, b) => {
    // All twice, because of the halves.
    const middle = up(2n * low + 15n * step);
    return roundDivide(middle - 15n * blockScales[b]! * unit, 2n * unit);
  });
  return {
    mantissas: blocks.flatMap(({ levels }) => levels.map(BigInt)),
    ...{ exponent, scale },
    blockScales: blockScales.map(Number),
    blockOffsets: blockOffsets.map(Number),
  };
}

/** The least multiplier by which 127 covers a block. */
function leastCovering(block: readonly number[], scale: number, exponent: number): number {
  const largest = largestMagnitude(block);
  let m = 1;
  while (!fits(largest, 127n * BigInt(m * scale), exponent)) m++;
  return m;
}

/** By what a multiplier is judged: binary64 throughout. */
function blockError(weights: readonly number[], step: number): number {
  const sums = [0, 0, 0, 0];
  weights.forEach((v, k) => {
    const q = Math.max(-127, Math.min(127, nearestEven(v * (1 / step))));
    const difference = v - q * step;
    sums[k % 4]! += difference * difference;
  });
  return sums[0]! + sums[1]! + (sums[2]! + sums[3]!);
}

function nearestEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

function clampMantissa(q: bigint): bigint {
  return q > 127n ? 127n : q < -127n ? -127n : q;
}

/** Section 2.1. */
export function quantizeColumn(column: ArrayLike<number>, bits: number): BfpColumn {
  const largest = largestMagnitude(column);
  const { exponent, scale } = columnGrid(largest, (1n << BigInt(bits - 1)) - 1n);
  const mantissas = Array.from({ length: column.length }, (_, i) =>
    mantissaOf(column[i]!, BigInt(scale), exponent),
  );
  return { mantissas, exponent, scale };
}

/** The least `D * 2^e` by which `limit` covers a magnitude. */
function columnGrid(
  largest: ReturnType<typeof largestMagnitude>,
  limit: bigint,
): { exponent: number; scale: number } {
  let exponent = EXPONENT_MIN;
  // The pairs in rising order of D * 2^e are all D for one e, then all D for the next.
  while (exponent < EXPONENT_MAX && !fits(largest, limit * 255n, exponent)) exponent++;
  let scale = 128;
  while (scale < 255 && !fits(largest, limit * BigInt(scale), exponent)) scale++;
  return { exponent, scale };
}

function mantissaOf(w: number, step: bigint, exponent: number): bigint {
  const { mantissa, exponent: e } = decodeF32(w);
  const shift = e - exponent;
  return shift >= 0
    ? roundDivide(mantissa << BigInt(shift), step)
    : roundDivide(mantissa, step << BigInt(-shift));
}

/** Section 5: `2^(f/65536)` in Q15, for an integer f in 0..65535. */
export function exp2Fraction(f: number): number {
  assert(Number.isInteger(f) && f >= 0 && f < 65536, "fraction out of range");
  const r = BigInt(f & 1023);
  const a = (r * 45426n) >> 10n;
  const c = a + ((a * a) >> 23n);
  const t = BigInt(EXP2_TABLE[f >> 10]!);
  return Number(t + ((t * c + (1n << 21n)) >> 22n));
}

/** The lowest exponent that the norm's mantissas may take, section 6. */
export function normExponentFloor(epsilon: number): number {
  assert(epsilon >= 0 && epsilon <= 1, "epsilon out of range");
  if (epsilon === 0) return EXPONENT_MIN;
  const { mantissa, exponent } = decodeF32(epsilon);
  const log = bitLength(mantissa) - 1 + exponent;
  return Math.max(EXPONENT_MIN, Math.floor((log - 45 + 1) / 2));
}

/** Section 6 on one row, without the gain. */
export function rmsNormRow(row: ArrayLike<number>, epsilon: number): number[] {
  const n = BigInt(row.length);
  const { mantissas, exponent } = quantizeRow(row, 16, normExponentFloor(epsilon));
  let squares = 0n;
  for (const m of mantissas) squares += m * m;
  const eps = decodeF32(epsilon);
  const sum = squares + floorScaled(n * eps.mantissa, eps.exponent - 2 * exponent);
  if (sum === 0n) return mantissas.map(() => 0);
  let j = -64;
  const scaled = (): bigint =>
    j <= 0 ? floorDivide(sum << BigInt(-2 * j), n) : floorDivide(sum, n << BigInt(2 * j));
  while (scaled() >= 1n << 24n) j++;
  const v = scaled();
  assert(v >= 1n << 22n, "the norm's sum is not normalised");
  const root = integerSqrt((1n << 56n) / v);
  return mantissas.map((m) => roundToF32(m * root, -28 - j));
}

/** Section 7: sine of a phase in 2^-32 turns, Q15. */
export function sinePhase(phase: number): number {
  const quarter = phase >>> 30;
  let t = (phase >>> 12) & 0x3ffff;
  if ((quarter & 1) === 1) t = 0x40000 - t;
  const i = t >> 10;
  const g = t & 1023;
  const next = g === 0 ? 0 : SINE_TABLE[i + 1]!;
  const value = (SINE_TABLE[i]! * (1024 - g) + next * g + 1024) >> 11;
  return quarter < 2 ? value : -value;
}

/** Section 7: cosine of a phase in 2^-32 turns, Q15. */
export function cosinePhase(phase: number): number {
  return sinePhase((phase + 0x4000_0000) >>> 0);
}

/** The phase of a position, modulo a turn. */
export function phaseOf(position: number, step: number): number {
  return Number(BigInt.asUintN(32, BigInt(position) * BigInt(step)));
}

/** Section 8 step 4: a weight in Q14, `k` places below the largest. */
export function attentionShare(u: number, k: number): bigint {
  assert(k >= 0, "a weight above the maximum");
  const share = (BigInt(u) + (1n << BigInt(k))) >> BigInt(k + 1);
  return share > 32767n ? 32767n : share;
}

/** Section 9. */
export function silu(x: number): number {
  const { mantissa, exponent } = decodeF32(x);
  const magnitude = mantissa < 0n ? -mantissa : mantissa;
  const exact = roundScaled(magnitude * BigInt(SILU_LOG2E), exponent - 6);
  const t = exact > 1n << 30n ? 1n << 30n : exact;
  const k = -(-t >> 16n);
  const u = BigInt(exp2Fraction(Number(-t & 65535n)));
  const e = u >> k;
  if (mantissa >= 0n)
    return roundToF32(mantissa * floorDivide(1n << 31n, 32768n + e), exponent - 16);
  return roundToF32(mantissa * floorDivide(u << 16n, 32768n + e), exponent - 16 - Number(k));
}
