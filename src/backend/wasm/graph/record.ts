// Records of graph programs: codes and words as the kernels read them (kernels/graph.as.ts and the comments
// of each kernel), and which node and failure each record stands for.

import { assert } from "gyrotron/base";
import type { RunFailure } from "gyrotron/tensor";
import { STATUS_GOOD } from "../../row-status.ts";
import { RECORD_WORDS } from "../layout.ts";

/** The codes of the kernels. */
export const GRAPH_CODES = {
  copy: 64,
  turn: 65,
  fill: 66,
  iota: 67,
  checkIndices: 68,
  gather: 69,
  take: 70,
  patches: 71,
  binary: 72,
  simpleUnary: 73,
  integer: 74,
  select: 75,
  convert: 76,
  function: 77,
  reduce: 78,
  groupUpdates: 79,
  scatter: 80,
  fold: 81,
  quantize: 82,
  quantizeColumns: 83,
  dequantize: 84,
  rmsNorm: 85,
  layerNorm: 86,
  reduceMax: 87,
  argmax: 88,
  topK: 89,
  softmax: 90,
  logSoftmax: 91,
  crossEntropy: 92,
  angles: 93,
  rotary: 94,
  matmul: 95,
  checkGrid: 96,
  toGrid: 97,
  gridAdd: 98,
  fromGrid: 99,
  attention: 100,
  attentionScores: 101,
  attentionCombine: 102,
  randomBits: 103,
  dropout: 104,
  sample: 105,
  quantizeTurned: 106,
} as const;

/** One kernel call of a graph. */
export interface GraphRecord {
  readonly kernel: keyof typeof GRAPH_CODES;
  readonly node: number;
  /** Units of work: elements, rows or what the kernel says. */
  readonly units: number;
  /** Words from 4 on; holes are 0. */
  readonly words: readonly number[];
  /** What a failed row means; kernels that cannot fail have none. */
  readonly failure: RunFailure["kind"] | undefined;
  /** Whether threads go on without waiting: the next record reads nothing that this one writes. */
  readonly free: boolean;
}

/** The words of a program. `fails` is the address of one word a record, all `STATUS_GOOD` before a run. */
export function encodeGraph(records: readonly GraphRecord[], fails: number): Int32Array {
  const words = new Int32Array(records.length * RECORD_WORDS);
  records.forEach((record, i) => {
    assert(record.words.length <= RECORD_WORDS - 4, "record too long");
    assert(!(record.free && record.failure !== undefined), "failures need a barrier");
    // The host may not go on before all threads have: whatever is last ends with a barrier.
    const isFree = record.free && i + 1 < records.length;
    const flags = isFree ? 0 : record.failure === undefined ? 1 : 2;
    const head = [GRAPH_CODES[record.kernel], flags, record.units, fails + 4 * i];
    words.set(head, i * RECORD_WORDS);
    words.set(record.words, i * RECORD_WORDS + 4);
  });
  return words;
}

/** The failure that a run's words tell of: the program stops at the first record that has one. */
export function findFailure(
  records: readonly GraphRecord[],
  fails: Int32Array,
): RunFailure | undefined {
  const at = fails.findIndex((row) => row !== STATUS_GOOD);
  const record = records[at];
  if (record === undefined) return undefined;
  assert(record.failure !== undefined, "a kernel failed that cannot");
  return { kind: record.failure, node: record.node, row: fails[at]! };
}
