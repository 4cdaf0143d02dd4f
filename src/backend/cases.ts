// The list of conformance cases: what every backend must compute bit for bit. `quick` is small enough for
// the oracle on every run; `full` adds sizes. A mutant backend that passes `quick` is a missing case here.

import { f32FromBits, rotarySteps } from "gyrotron/numerics";
import {
  type BfpRows,
  BLOCK_SCALE_MAX,
  blocksOf,
  LEVEL_MAX,
  LEVEL_WEIGHT_MAX,
  mantissaMax,
  type OpCall,
  type PackedMatrix,
  type WeightBits,
} from "gyrotron/tensor";
import { CaseValues } from "./case-values.ts";
import { decoderCases, type DecoderCase } from "./decoder-cases.ts";

/** How many cases: `quick` for every run, `full` with larger sizes. */
export type CaseSet = "quick" | "full";

/** One op call with a stable name. */
export interface OpCase {
  readonly id: string;
  readonly call: OpCall;
}

const MAX = f32FromBits(0x7f7fffff);
const TINY = 2 ** -149;

/** All cases of a set, in the order that the digest takes them. */
export function conformanceCases(set: CaseSet): { ops: OpCase[]; decoders: DecoderCase[] } {
  const full = set === "full";
  const ops = [
    ...quantizeCases(full),
    ...matmulCases(full),
    ...elementwiseCases(full),
    ...rowCases(full),
    ...rotaryCases(full),
    ...attentionCases(full),
    ...(full ? sweepCases() : []),
  ];
  return { ops, decoders: decoderCases(full) };
}

function make(id: string, build: (values: CaseValues) => OpCall): OpCase {
  return { id, call: build(new CaseValues(id)) };
}

function quantizeCases(full: boolean): OpCase[] {
  const edge = [MAX, -MAX, TINY, -TINY, 0, 1, -1, 127, 127.5, 2 ** -126, 3 * TINY, -128];
  const widths = [8, 13, 14, 16];
  return widths.flatMap((bits) => [
    make(`quantize/${bits}/moderate`, (v) => ({
      op: "quantize",
      x: v.moderate(5 * 29),
      columns: 29,
      bits,
    })),
    make(`quantize/${bits}/wild`, (v) => ({ op: "quantize", x: v.wild(60), columns: 3, bits })),
    make(`quantize/${bits}/ties`, (v) => ({
      op: "quantize",
      x: v.ties(96, -9),
      columns: 24,
      bits,
    })),
    make(`quantize/${bits}/subnormal`, (v) => ({
      op: "quantize",
      x: v.ties(40, -149),
      columns: 8,
      bits,
    })),
    make(`quantize/${bits}/single`, () => ({
      op: "quantize",
      x: Float32Array.from(edge),
      columns: 1,
      bits,
    })),
    // The largest magnitude on either side of where the exponent steps, and a tie that rounds up to it.
    make(`quantize/${bits}/steps`, () => {
      const top = 2 ** (bits - 1) - 1;
      const values = [top, top + 0.5, -top - 0.5, top + 1, 0.5, 1.5, -0.5, -2.5].map(Math.fround);
      const rows = [top, top + 0.25, top + 0.5, top + 1, 2 * top, 2 * top + 1].map(Math.fround);
      return {
        op: "quantize",
        x: Float32Array.from(rows.flatMap((r) => [r, ...values.slice(4)])),
        columns: 5,
        bits,
      };
    }),
    make(`quantize/${bits}/empty`, () => ({
      op: "quantize",
      x: new Float32Array(0),
      columns: 4,
      bits,
    })),
    ...(full
      ? [
          make(`quantize/${bits}/long`, (v): OpCall => ({
            op: "quantize",
            x: v.wild(4096),
            columns: 1024,
            bits,
          })),
        ]
      : []),
  ]);
}

function matmulCases(full: boolean): OpCase[] {
  const pairs: [number, WeightBits][] = [
    [8, 8],
    [14, 8],
    [14, 14],
    [15, 14],
    [16, 14],
  ];
  const sizes = [
    [1, 1, 1],
    [1, 7, 3],
    [2, 8, 4],
    [3, 33, 5],
    [4, 64, 8],
    [5, 130, 9],
    ...(full ? [[17, 257, 33]] : []),
  ] as const;
  const random = pairs.flatMap(([a, b]) =>
    sizes.map(([rows, k, n]) =>
      make(`matmul/w${b}a${a}/${rows}x${k}x${n}`, (v) => ({
        op: "matmul",
        leftBits: a,
        left: v.bfp(rows, k, a, [-20, 4]),
        weights: v.matrix(n, k, b, [-20, 0]),
      })),
    ),
  );
  return [...random, ...accumulatorCases(full), ...levelCases(full), ...roundingCases()];
}

/** Weights in levels: random ones, and all at one end of what 14 bits hold. */
function levelCases(full: boolean): OpCase[] {
  const sizes = [
    [1, 32, 1],
    [2, 64, 5],
    [3, 96, 4],
    [5, 160, 9],
    ...(full ? [[17, 256, 33]] : []),
  ] as const;
  const random = [8, 14, 16].flatMap((a) =>
    sizes.map(([rows, k, n]) =>
      make(`matmul/levels/a${a}/${rows}x${k}x${n}`, (v) => ({
        op: "matmul",
        leftBits: a,
        left: v.bfp(rows, k, a, [-20, 4]),
        weights: v.levels(n, k, [-20, 0]),
      })),
    ),
  );
  const extreme = (a: number, k: number): OpCase =>
    make(`matmul/levels/extreme/a${a}/${k}`, (v) => {
      const blocks = 2 * blocksOf(k);
      return {
        op: "matmul",
        leftBits: a,
        left: extremeRows(v, a, k),
        // The first output has the highest levels, the second the lowest.
        weights: {
          ...{ outputs: 2, inputs: k, bits: 4 },
          mantissas: new Uint8Array(k).fill(0xff, 0, k / 2),
          blockScales: new Uint16Array(blocks).fill(1092),
          blockOffsets: new Int16Array(blocks)
            .fill(LEVEL_WEIGHT_MAX - LEVEL_MAX * 1092)
            .fill(-LEVEL_WEIGHT_MAX, blocks / 2),
          scales: Uint8Array.of(128, 165),
          exponents: Int16Array.of(-10, -10),
        },
      };
    });
  return [...random, extreme(8, 2080), extreme(14, 32), extreme(14, 320), extreme(16, 96)];
}

/** Sums as large as the width allows: past i32, past the spill bound, and every sign pattern of them. */
function accumulatorCases(full: boolean): OpCase[] {
  const extreme = (a: number, b: WeightBits, k: number, scale?: number): OpCase =>
    make(`matmul/extreme/w${b}a${a}/${k}${scale === undefined ? "" : `x${scale}`}`, (v) => {
      const side = 2 ** (b - 1) - 1;
      return {
        op: "matmul",
        leftBits: a,
        left: extremeRows(v, a, k),
        weights: {
          ...packed(b, [Array(k).fill(side), Array(k).fill(-side)]),
          ...(scale !== undefined && { blockScales: new Uint8Array(2 * blocksOf(k)).fill(scale) }),
        },
      };
    });
  return [
    extreme(8, 8, 3000),
    extreme(14, 8, 2065),
    extreme(14, 8, 8300),
    extreme(8, 8, 2100, BLOCK_SCALE_MAX),
    extreme(14, 8, 33, BLOCK_SCALE_MAX),
    extreme(14, 8, 300, BLOCK_SCALE_MAX),
    extreme(15, 14, 300),
    extreme(16, 14, 300),
    extreme(14, 14, 33),
    extreme(14, 14, 300),
    ...(full ? [extreme(8, 8, 65536), extreme(14, 14, 65536)] : []),
  ];
}

/** The largest mantissas: all above zero, all below, and some of them. */
function extremeRows(v: CaseValues, bits: number, columns: number): BfpRows {
  const top = mantissaMax(bits);
  return {
    columns,
    mantissas: Int32Array.from({ length: 3 * columns }, (_, i) =>
      i < 2 * columns ? (i < columns ? top : -top) : v.integer(0, 1) * top,
    ),
    exponents: Int32Array.of(0, 0, -3),
  };
}

/** Sums that a second rounding, a flush or a cut-off scale would get wrong. */
function roundingCases(): OpCase[] {
  const scaled = (
    id: string,
    sums: readonly number[],
    scale: number,
    exponents: readonly [number, number],
  ): OpCase =>
    make(`matmul/round/${id}`, () => ({
      op: "matmul",
      leftBits: 14,
      // A sum s is written as 8191 * q + r over two products per digit, so any s below 2^30 can be made.
      left: {
        columns: 4,
        mantissas: Int32Array.from(sums.flatMap(digits)),
        exponents: Int32Array.from(sums, () => exponents[0]),
      },
      weights: {
        ...packed(14, [[4096, 1, 4096, 1]]),
        scales: Uint8Array.of(scale),
        exponents: Int16Array.of(exponents[1]),
      },
    }));
  const around = (value: number): number[] => [
    value - 1,
    value,
    value + 1,
    -value,
    -value - 1,
    1 - value,
  ];
  return [
    // 40961025 * 2^-160 = 315085 * 130 * 2^-160 - ..., made with D = 225: 182049 * 225 = 40961025.
    scaled("subnormal-vector", [182049, -182049, 182048, 182050], 225, [-80, -80]),
    scaled("subnormal-ties", [1, 3, 5, 7, -1, -3, -5], 128, [-78, -79]),
    scaled("underflow", [1, -1, 2, 3], 128, [-100, -100]),
    scaled(
      "ties",
      [...around(2 ** 24 + 1), ...around(2 ** 24 + 3), ...around(2 ** 25 + 2)],
      128,
      [0, 0],
    ),
    scaled(
      "scaled-ties",
      [...around(2 ** 23), ...around(11184811), ...around(16580609)],
      129,
      [3, -7],
    ),
    scaled("overflow-edge", [2 ** 25 - 1, -(2 ** 25) + 1], 128, [60, 35]),
    scaled("overflow", [1, 2 ** 25, 3], 128, [60, 36]),
    scaled("zero", [0, 0], 200, [100, -149]),
  ];
}

/** Four mantissas whose product with (4096, 1, 4096, 1) is `sum`. */
function digits(sum: number): number[] {
  const low = sum % 4096;
  const high = (sum - low) / 4096;
  const half = Math.floor(high / 2);
  return [half, low, high - half, 0];
}

function packed(bits: WeightBits, columns: readonly (readonly number[])[]): PackedMatrix {
  const inputs = columns[0]!.length;
  const all = columns.flat();
  return {
    outputs: columns.length,
    inputs,
    bits,
    mantissas: bits === 8 ? Int8Array.from(all) : Int16Array.from(all),
    scales: Uint8Array.from(columns, (_, i) => 128 + ((i * 37) % 128)),
    exponents: Int16Array.from(columns, () => -10),
  };
}

function elementwiseCases(full: boolean): OpCase[] {
  const edge = [
    0,
    TINY,
    -TINY,
    3 * TINY,
    1,
    -1,
    1 + 2 ** -23,
    2 ** -126,
    MAX,
    -MAX,
    2 ** 24,
    2 ** -24,
    0.1,
    -0.3,
  ].map(Math.fround);
  const left = Float32Array.from(edge.flatMap((x) => edge.map(() => x)));
  const right = Float32Array.from(edge.flatMap(() => edge));
  const length = full ? 4095 : 300;
  return (["add", "multiply"] as const).flatMap((op) => [
    make(`${op}/moderate`, (v) => ({
      op,
      left: v.moderate(77),
      right: v.moderate(77),
      columns: 11,
    })),
    make(`${op}/wild`, (v) => {
      const halves = v.wild(length).map((x) => x / 2 + 0);
      return {
        op,
        left: op === "add" ? halves : v.wild(length).map(squash),
        right: v.wild(length).map(squash),
        columns: 3,
      };
    }),
    make(`${op}/subnormal`, (v) => ({
      op,
      left: v.ties(64, -149),
      right: op === "add" ? v.ties(64, -149) : v.ties(64, -8),
      columns: 16,
    })),
    // One row each, so that the first row that overflows is what is reported; then those that do not.
    make(`${op}/edge`, () => ({ op, left, right, columns: 1 })),
    make(`${op}/edge-finite`, () => {
      const keep = Array.from(left, (x, i) => i).filter((i) => {
        const y = op === "add" ? left[i]! + right[i]! : left[i]! * right[i]!;
        return Math.abs(y) < 2 ** 127;
      });
      const pick = (from: Float32Array): Float32Array => Float32Array.from(keep, (i) => from[i]!);
      return { op, left: pick(left), right: pick(right), columns: 1 };
    }),
    make(`${op}/overflow-row`, (v) => {
      const big = v.moderate(60);
      big[37] = MAX;
      return { op, left: big, right: big, columns: 6 };
    }),
  ]);
}

/** Brings exponents into the middle so that products stay finite, some of them subnormal. */
function squash(x: number): number {
  return Math.abs(x) > 2 ** 60 ? Math.fround(x * 2 ** -100) : x;
}

function rowCases(full: boolean): OpCase[] {
  const sizes = [1, 2, 5, 8, 24, 67, ...(full ? [1024, 4097] : [])];
  const eps = Math.fround(1e-5);
  const norms = sizes.flatMap((columns) => [
    make(`rms-norm/${columns}/moderate`, (v) => ({
      op: "rms-norm",
      x: v.moderate(3 * columns),
      columns,
      epsilon: eps,
    })),
    make(`rms-norm/${columns}/wild`, (v) => ({
      op: "rms-norm",
      x: v.wild(4 * columns),
      columns,
      epsilon: 0,
    })),
    make(`rms-norm/${columns}/small`, (v) => ({
      op: "rms-norm",
      x: v.ties(4 * columns, -20),
      columns,
      epsilon: eps,
    })),
  ]);
  const silus = [
    0,
    TINY,
    -TINY,
    1,
    -1,
    20,
    -20,
    88,
    -88,
    104,
    -104,
    150,
    -150,
    MAX,
    -MAX,
    0.6931472,
    -0.6931472,
  ];
  return [
    ...norms,
    make("rms-norm/zero", () => ({
      op: "rms-norm",
      x: new Float32Array(8),
      columns: 4,
      epsilon: 0,
    })),
    make("rms-norm/zero-eps", () => ({
      op: "rms-norm",
      x: new Float32Array(8),
      columns: 4,
      epsilon: 1,
    })),
    make("rms-norm/subnormal", (v) => ({
      op: "rms-norm",
      x: v.ties(12, -149),
      columns: 3,
      epsilon: 0,
    })),
    make("rms-norm/subnormal-eps", (v) => ({
      op: "rms-norm",
      x: v.ties(12, -149),
      columns: 3,
      epsilon: TINY,
    })),
    make("silu/edge", () => ({ op: "silu", x: Float32Array.from(silus, Math.fround), columns: 1 })),
    make("silu/moderate", (v) => ({ op: "silu", x: v.moderate(full ? 8192 : 512), columns: 16 })),
    make("silu/wild", (v) => ({ op: "silu", x: v.wild(full ? 8192 : 256), columns: 16 })),
    make("silu/range", (v) => ({ op: "silu", x: v.ties(full ? 8192 : 512, -3), columns: 16 })),
    make("argmax/ties", () => ({
      op: "argmax",
      x: Float32Array.of(1, 3, 3, 2, 3, 0, 0, 0, 0, 0, -1, -2, -1, -3, -1),
      columns: 5,
    })),
    make("argmax/wild", (v) => ({ op: "argmax", x: v.wild(300), columns: 30 })),
    make("embed/rows", (v) => ({
      op: "embed",
      table: v.wild(35),
      columns: 7,
      tokens: Uint32Array.of(4, 0, 4, 2),
    })),
  ];
}

/** Unary programs over every f32 whose lower 16 bits are 0: all exponents, all leading mantissas. */
function sweepCases(): OpCase[] {
  const all: number[] = [];
  for (let high = 0; high < 65536; high++) {
    const value = f32FromBits((high << 16) >>> 0);
    if (Number.isFinite(value)) all.push(value + 0);
  }
  const x = Float32Array.from(all);
  const pairs = Float32Array.from(all.flatMap((value) => [value, 1]));
  const positions = Uint32Array.from({ length: 2048 }, (_, i) => i);
  const ones = new Float32Array(2048 * 8).fill(1);
  const steps = rotarySteps(10000, 8);
  return [
    make("silu/sweep", () => ({ op: "silu", x, columns: 1 })),
    make("quantize/14/sweep", () => ({ op: "quantize", x, columns: 1, bits: 14 })),
    make("rms-norm/sweep", () => ({ op: "rms-norm", x: pairs, columns: 2, epsilon: 2 ** -20 })),
    make("rotary/sweep", () => ({
      op: "rotary",
      x: ones,
      heads: 1,
      headSize: 8,
      positions,
      steps,
      interleaved: true,
    })),
    make("rotary/far", () => ({
      op: "rotary",
      x: ones,
      heads: 1,
      headSize: 8,
      positions: positions.map((i) => 65535 - 31 * i),
      steps,
      interleaved: false,
    })),
  ];
}

function rotaryCases(full: boolean): OpCase[] {
  const sizes = [2, 6, 8, 64, ...(full ? [48, 128] : [])];
  return sizes.flatMap((headSize) =>
    [true, false].map((interleaved) =>
      make(`rotary/${headSize}/${interleaved ? "interleaved" : "halves"}`, (v) => {
        const positions = Uint32Array.of(0, 1, 2, 511, 2047);
        // Heads of very different magnitude: one exponent for all of them would be another function.
        const x = v.moderate(positions.length * 3 * headSize);
        for (let i = 0; i < x.length; i++)
          if (Math.floor(i / headSize) % 3 === 1) x[i]! *= 2 ** -14;
        return {
          op: "rotary",
          x,
          heads: 3,
          headSize,
          positions,
          steps: rotarySteps(10000, headSize),
          interleaved,
        };
      }),
    ),
  );
}

/**
 * Quotients so close to the middle of two f32, 18080369 * 2^-13, that binary64 takes them for it, and then rounds
 * to the wrong side. All keys but the last are 0, so weights are 16384, and 16751 at the last position.
 */
function nearMiddle(): OpCase {
  const positions = 40_001;
  const last = positions - 1;
  const value = (t: number): number => {
    if (t === last) return -4095;
    return t < 9495 ? 2208 : 2207;
  };
  const rows = (mantissas: (t: number) => [number, number], exponent: number): BfpRows => ({
    columns: 2,
    mantissas: Int32Array.from({ length: 2 * positions }, (_, i) => mantissas(i >> 1)[i & 1]!),
    exponents: new Int32Array(positions).fill(exponent),
  });
  return make("attention/near-middle", () => ({
    op: "attention",
    heads: 1,
    kvHeads: 1,
    headSize: 2,
    queries: { columns: 2, mantissas: Int32Array.of(1, 0), exponents: Int32Array.of(-3) },
    keys: rows((t) => [t === last ? 1 : 0, 0], -2),
    values: rows((t) => [value(t), -value(t)], 0),
  }));
}

function attentionCases(full: boolean): OpCase[] {
  const shape = (
    id: string,
    size: [number, number, number, number],
    keys: [number, number],
    values: [number, number],
  ): OpCase =>
    make(`attention/${id}`, (v) => {
      const [heads, kvHeads, headSize, positions] = size;
      return {
        op: "attention",
        heads,
        kvHeads,
        headSize,
        queries: v.bfp(heads, headSize, 13, [-12, -9]),
        keys: v.bfp(positions * kvHeads, headSize, 13, keys),
        values: v.bfp(positions * kvHeads, headSize, 13, values),
      };
    });
  return [
    shape("one", [1, 1, 8, 1], [-12, -10], [-12, -12]),
    shape("two", [2, 1, 6, 2], [-13, -10], [-14, -9]),
    shape("grouped", [4, 2, 8, 17], [-14, -11], [-14, -10]),
    shape("flat", [2, 2, 4, 40], [-30, -28], [-12, -12]),
    shape("steep", [2, 2, 16, 33], [-10, -6], [-12, -10]),
    // Exponents of V so far apart that shifts pass 32 and 64: an unmasked count must give 0.
    shape("values-apart", [2, 1, 8, 12], [-14, -12], [-90, 10]),
    shape("keys-apart", [2, 1, 8, 12], [-60, -8], [-12, -8]),
    shape("saturated", [1, 1, 8, 9], [40, 60], [-12, -8]),
    shape("extreme-exponents", [1, 1, 4, 9], [-149, 122], [-149, 122]),
    shape("odd", [3, 3, 10, 21], [-13, -11], [-13, -11]),
    shape("long", [1, 1, 32, 300], [-15, -13], [-13, -11]),
    make("attention/zero-values", (v) => ({
      op: "attention",
      heads: 1,
      kvHeads: 1,
      headSize: 4,
      queries: v.bfp(1, 4, 13, [-12, -12]),
      keys: v.bfp(3, 4, 13, [-12, -12]),
      values: {
        columns: 4,
        mantissas: new Int32Array(12),
        exponents: Int32Array.of(-149, -149, -149),
      },
    })),
    ...(full
      ? [
          shape("wide", [8, 2, 128, 2048], [-17, -14], [-13, -11]),
          shape("medium", [9, 3, 64, 511], [-15, -13], [-13, -11]),
          // More positions than a device may hold scores of at once, and no whole number of tiles.
          shape("many", [2, 1, 16, 5001], [-15, -12], [-13, -9]),
          // Weights so even that their sum passes 2^29.
          shape("most", [1, 1, 8, 65536], [-30, -24], [-13, -11]),
          nearMiddle(),
        ]
      : []),
  ];
}
