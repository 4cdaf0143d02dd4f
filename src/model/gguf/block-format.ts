// The storage formats of GGUF tensors: how many bytes a block of elements takes, and the real numbers that
// it stands for. Every element is one exact real (products and sums of its block's f16 and small integers)
// rounded once to f32; binary64 holds each of them exactly, so that storing into a Float32Array rounds once.
// Sources: the block layouts in the ggml repository (ggml-common.h) and their reference dequantization.

import { f32FromBits } from "gyrotron/numerics";
import { halfToF32 } from "../float-import.ts";
import type { LevelMatrix } from "../level-matrix.ts";

/** A storage format. */
export interface BlockFormat {
  readonly name: string;
  /** Elements of a block. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Reads the block at `at` into `out` from `to` on. Not finite where the file is not. */
  readonly read: (view: DataView, at: number, out: Float32Array, to: number) => void;
  /** Of formats with 16 levels for each 32 elements: reads the block's, `to` elements from the start. */
  readonly readLevels?: (view: DataView, at: number, out: LevelMatrix, to: number) => void;
}

/** The format of a number in the tensor table, or undefined if it is unknown. */
export function blockFormat(format: number): BlockFormat | undefined {
  return FORMATS.get(format);
}

const half = (view: DataView, at: number): number => halfToF32(view.getUint16(at, true));
const byte = (view: DataView, at: number): number => view.getUint8(at);

/** 32 elements in 16 bytes of two nibbles, low ones first: scale, offset, and a fifth bit if there is one. */
function readNibbles(
  view: DataView,
  out: Float32Array,
  block: { to: number; at: number; scale: number; offset: number; high: number },
): void {
  const { to, at, scale, offset, high } = block;
  for (let j = 0; j < 16; j++) {
    const q = byte(view, at + j);
    const low = (q & 15) | (((high >>> j) & 1) << 4);
    const up = (q >> 4) | (((high >>> (j + 16)) & 1) << 4);
    out[to + j] = low * scale + offset + 0;
    out[to + j + 16] = up * scale + offset + 0;
  }
}

/** 32 levels in 16 bytes, low ones first. */
function readLevels(
  view: DataView,
  out: LevelMatrix,
  block: { to: number; at: number; step: number; low: number },
): void {
  const { to, at, step, low } = block;
  for (let j = 0; j < 16; j++) {
    const q = byte(view, at + j);
    out.levels[to + j] = q & 15;
    out.levels[to + j + 16] = q >> 4;
  }
  out.steps[to / 32] = step;
  out.lows[to / 32] = low;
}

/** Scale and minimum of sub-block `j` of eight, 6 bits each, packed into 12 bytes. */
function scaleAndMinimum(view: DataView, at: number, j: number): [number, number] {
  if (j < 4) return [byte(view, at + j) & 63, byte(view, at + j + 4) & 63];
  const low = byte(view, at + j + 4);
  const scale = (low & 15) | ((byte(view, at + j - 4) >> 6) << 4);
  return [scale, (low >> 4) | ((byte(view, at + j) >> 6) << 4)];
}

/** Q4_K and Q5_K: eight sub-blocks of 32 in four runs of 32 bytes, with a plane of fifth bits if `high` >= 0. */
function readK45(
  view: DataView,
  out: Float32Array,
  block: { to: number; at: number; quants: number; high: number },
): void {
  const { to, at, quants, high } = block;
  const scale = half(view, at);
  const minimum = half(view, at + 2);
  for (let sub = 0; sub < 8; sub++) {
    const [s, m] = scaleAndMinimum(view, at + 4, sub);
    const run = quants + (sub >> 1) * 32;
    for (let l = 0; l < 32; l++) {
      const nibble = (byte(view, run + l) >> ((sub & 1) * 4)) & 15;
      const fifth = high < 0 ? 0 : ((byte(view, high + l) >> sub) & 1) << 4;
      out[to + sub * 32 + l] = scale * s * (nibble | fifth) - minimum * m + 0;
    }
  }
}

/** The same of Q4_K as levels: eight blocks of 32. */
function readLevelsK4(view: DataView, at: number, out: LevelMatrix, to: number): void {
  const [scale, minimum] = [half(view, at), half(view, at + 2)];
  for (let sub = 0; sub < 8; sub++) {
    const [s, m] = scaleAndMinimum(view, at + 4, sub);
    const run = at + 16 + (sub >> 1) * 32;
    for (let l = 0; l < 32; l++) {
      out.levels[to + sub * 32 + l] = (byte(view, run + l) >> ((sub & 1) * 4)) & 15;
    }
    out.steps[to / 32 + sub] = scale * s;
    out.lows[to / 32 + sub] = 0 - minimum * m;
  }
}

/** The sixteen scales of Q3_K: low nibbles in bytes 0..7, the upper two bits in bytes 8..11. */
function scaleQ3K(view: DataView, at: number, j: number): number {
  const low = (byte(view, at + (j & 7)) >> (j < 8 ? 0 : 4)) & 15;
  const high = (byte(view, at + 8 + (j & 3)) >> ((j >> 2) * 2)) & 3;
  return (low | (high << 4)) - 32;
}

const FORMATS: ReadonlyMap<number, BlockFormat> = new Map<number, BlockFormat>([
  [
    0,
    {
      name: "F32",
      elements: 1,
      bytes: 4,
      read(view, at, out, to) {
        out[to] = view.getFloat32(at, true) + 0;
      },
    },
  ],
  [
    1,
    {
      name: "F16",
      elements: 1,
      bytes: 2,
      read(view, at, out, to) {
        out[to] = half(view, at) + 0;
      },
    },
  ],
  [
    30,
    {
      name: "BF16",
      elements: 1,
      bytes: 2,
      read(view, at, out, to) {
        out[to] = f32FromBits((view.getUint16(at, true) << 16) >>> 0) + 0;
      },
    },
  ],
  [
    2,
    {
      name: "Q4_0",
      elements: 32,
      bytes: 18,
      read(view, at, out, to) {
        const scale = half(view, at);
        readNibbles(view, out, { to, at: at + 2, scale, offset: -8 * scale, high: 0 });
      },
      readLevels(view, at, out, to) {
        const step = half(view, at);
        readLevels(view, out, { to, at: at + 2, step, low: -8 * step });
      },
    },
  ],
  [
    3,
    {
      name: "Q4_1",
      elements: 32,
      bytes: 20,
      read(view, at, out, to) {
        const [scale, offset] = [half(view, at), half(view, at + 2)];
        readNibbles(view, out, { to, at: at + 4, scale, offset, high: 0 });
      },
      readLevels(view, at, out, to) {
        const [step, low] = [half(view, at), half(view, at + 2)];
        readLevels(view, out, { to, at: at + 4, step, low });
      },
    },
  ],
  [
    6,
    {
      name: "Q5_0",
      elements: 32,
      bytes: 22,
      read(view, at, out, to) {
        const scale = half(view, at);
        const high = view.getUint32(at + 2, true);
        readNibbles(view, out, { to, at: at + 6, scale, offset: -16 * scale, high });
      },
    },
  ],
  [
    7,
    {
      name: "Q5_1",
      elements: 32,
      bytes: 24,
      read(view, at, out, to) {
        const [scale, offset] = [half(view, at), half(view, at + 2)];
        const high = view.getUint32(at + 4, true);
        readNibbles(view, out, { to, at: at + 8, scale, offset, high });
      },
    },
  ],
  [
    8,
    {
      name: "Q8_0",
      elements: 32,
      bytes: 34,
      read(view, at, out, to) {
        const scale = half(view, at);
        for (let j = 0; j < 32; j++) out[to + j] = view.getInt8(at + 2 + j) * scale + 0;
      },
    },
  ],
  [
    10,
    {
      name: "Q2_K",
      elements: 256,
      bytes: 84,
      read(view, at, out, to) {
        const [scale, minimum] = [half(view, at + 80), half(view, at + 82)];
        for (let sub = 0; sub < 16; sub++) {
          const packed = byte(view, at + sub);
          // Each half of 128 elements takes 32 bytes; two bits a plane, four planes.
          const run = at + 16 + (sub >> 3) * 32 + (sub & 1) * 16;
          const shift = ((sub >> 1) & 3) * 2;
          for (let l = 0; l < 16; l++) {
            const q = (byte(view, run + l) >> shift) & 3;
            out[to + sub * 16 + l] = scale * (packed & 15) * q - minimum * (packed >> 4) + 0;
          }
        }
      },
    },
  ],
  [
    11,
    {
      name: "Q3_K",
      elements: 256,
      bytes: 110,
      read(view, at, out, to) {
        const scale = half(view, at + 108);
        for (let sub = 0; sub < 16; sub++) {
          const s = scaleQ3K(view, at + 96, sub);
          const run = at + 32 + (sub >> 3) * 32 + (sub & 1) * 16;
          const shift = ((sub >> 1) & 3) * 2;
          for (let l = 0; l < 16; l++) {
            const isSet = (byte(view, at + (sub & 1) * 16 + l) >> (sub >> 1)) & 1;
            const q = ((byte(view, run + l) >> shift) & 3) - (isSet === 1 ? 0 : 4);
            out[to + sub * 16 + l] = scale * s * q + 0;
          }
        }
      },
    },
  ],
  [
    12,
    {
      name: "Q4_K",
      elements: 256,
      bytes: 144,
      read(view, at, out, to) {
        readK45(view, out, { to, at, quants: at + 16, high: -1 });
      },
      readLevels: readLevelsK4,
    },
  ],
  [
    13,
    {
      name: "Q5_K",
      elements: 256,
      bytes: 176,
      read(view, at, out, to) {
        readK45(view, out, { to, at, quants: at + 48, high: at + 16 });
      },
    },
  ],
  [
    14,
    {
      name: "Q6_K",
      elements: 256,
      bytes: 210,
      read(view, at, out, to) {
        const scale = half(view, at + 208);
        for (let sub = 0; sub < 16; sub++) {
          const s = view.getInt8(at + 192 + sub);
          // In each half of 128: runs of 32 take their low nibbles from two runs of 32 bytes in turn.
          const run = (sub >> 1) & 3;
          const low = at + (sub >> 3) * 64 + (run & 1) * 32 + (sub & 1) * 16;
          const high = at + 128 + (sub >> 3) * 32 + (sub & 1) * 16;
          for (let l = 0; l < 16; l++) {
            const nibble = (byte(view, low + l) >> (run >= 2 ? 4 : 0)) & 15;
            const q = (nibble | (((byte(view, high + l) >> (run * 2)) & 3) << 4)) - 32;
            out[to + sub * 16 + l] = scale * s * q + 0;
          }
        }
      },
    },
  ],
  [
    15,
    {
      name: "Q8_K",
      elements: 256,
      bytes: 292,
      read(view, at, out, to) {
        const scale = view.getFloat32(at, true);
        for (let j = 0; j < 256; j++) out[to + j] = view.getInt8(at + 4 + j) * scale + 0;
      },
    },
  ],
]);
