// The host's view of the kernels' memory: control block, op codes and program records. The kernels' copy is
// kernels/layout.as.ts and the comments in kernels/index.as.ts.

import { assert } from "gyrotron/base";

/** Byte offsets within the control block. */
export const CONTROL = {
  job: 8,
  rows: 56,
  logitRows: 60,
  program: 16,
  programLength: 20,
  threads: 24,
  scratch: 28,
  scratchBytes: 32,
  exp2: 36,
  sines: 40,
  positions: 44,
  caches: 48,
  /** Tables of the functions of graphs. */
  tables: 64,
  /** 0, or the seed of a random split of each record's work. */
  schedule: 68,
  /** 0, or 1 if the host's native kernels are asked first. */
  native: 72,
  bytes: 76,
} as const;

export const OP_CODES = {
  embed: 1,
  angles: 2,
  normQuantize: 3,
  matmul: 4,
  rotate: 5,
  attend: 6,
  quantize: 7,
  add: 8,
  gate: 9,
  gather: 10,
  norm: 11,
  silu: 12,
  multiply: 13,
  rotary: 14,
  argmax: 15,
  layerNormQuantize: 16,
  bias: 17,
  headNorm: 18,
  gelu: 19,
  pack: 20,
} as const;

export const RECORD_WORDS = 24;

/** Header of a sequence cache before its first layer. */
export const CACHE_HEADER_BYTES = 16;

/** One kernel call of a program. */
export interface KernelCall {
  readonly op: keyof typeof OP_CODES;
  /** Address of the word that holds the number of rows. */
  readonly rows: number;
  readonly status?: number;
  /** Words from 4 on, as the kernel documents them. */
  readonly words: readonly number[];
  /** Whether threads may go on without waiting, because each goes on with its own rows only. */
  readonly free?: boolean;
}

/** The words of a program. */
export function encodeProgram(calls: readonly KernelCall[]): Int32Array {
  const words = new Int32Array(calls.length * RECORD_WORDS);
  calls.forEach((call, i) => {
    assert(call.words.length <= RECORD_WORDS - 4, "record too long");
    words.set(
      [OP_CODES[call.op], call.free === true ? 0 : 1, call.rows, call.status ?? 0],
      i * RECORD_WORDS,
    );
    words.set(call.words, i * RECORD_WORDS + 4);
  });
  return words;
}

/** The next multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Scratch of a thread for attention over so many positions: a score and a share for each. */
export function attentionScratchBytes(positions: number): number {
  return positions * 6 + 64;
}

/** Bytes of a sequence cache. */
export function cacheBytes(shape: {
  layers: number;
  kvHeads: number;
  padded: number;
  capacity: number;
}): number {
  const { layers, kvHeads, padded, capacity } = shape;
  return CACHE_HEADER_BYTES + layers * kvHeads * capacity * (padded * 4 + 8);
}
