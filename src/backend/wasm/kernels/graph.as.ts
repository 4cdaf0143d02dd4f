// Runs one record of a graph's program: splits its units among the threads and calls its kernel. Codes are
// those of ../graph/record.ts.

import { attentionRange, combineRange, scoresRange } from "./graph-attention.as";
import {
  binaryRange,
  convertRange,
  integerRange,
  selectRange,
  simpleUnaryRange,
} from "./graph-elementwise.as";
import { functionRange } from "./graph-function.as";
import { checkGrid, fromGridRange, gridAddRange, matmulRange, toGridRange } from "./graph-matmul.as";
import {
  checkIndices,
  copyRange,
  fillRange,
  gatherRange,
  iotaRange,
  patchesRange,
  takeRange,
  turnRange,
} from "./graph-move.as";
import { topKRange } from "./graph-order.as";
import { dropoutRange, randomBitsRange, sampleRange } from "./graph-random.as";
import { SCHEDULE } from "./graph-record.as";
import {
  anglesRange,
  argmaxRange,
  crossEntropyRange,
  dequantizeRange,
  layerNormRange,
  logSoftmaxRange,
  quantizeColumnsRange,
  quantizeRange,
  reduceMaxRange,
  rmsNormRange,
  rotaryRange,
  softmaxRange,
} from "./graph-row.as";
import { foldRange, groupUpdates, reduceRange, scatterRange } from "./graph-sum.as";
import { quantizeTurnedRange } from "./graph-turn.as";
import { SCRATCH, SCRATCH_BYTES, address, word } from "./layout.as";

/** This thread's share of a record. */
export function runGraphRecord(control: usize, p: usize, thread: i32, threads: i32): void {
  const scratch =
    address(control + SCRATCH, 0) + <usize>thread * address(control + SCRATCH_BYTES, 0);
  const units = word(p, 2);
  const seed = load<u32>(control + SCHEDULE);
  if (seed == 0) {
    const from = <i32>((<i64>units * thread) / threads);
    const to = <i32>((<i64>units * (thread + 1)) / threads);
    if (from < to) part(control, p, scratch, from, to);
    return;
  }
  // A random split, the same for all threads: parts of 1 to 61 units, from the last to the first.
  let state = (seed ^ <u32>p) | 1;
  let to = units;
  while (to > 0) {
    state = state * 1664525 + 1013904223;
    const from = max(0, to - 1 - <i32>((state >> 8) % 61));
    if (<i32>((state >> 20) % <u32>threads) == thread) part(control, p, scratch, from, to);
    to = from;
  }
}

function part(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  switch (word(p, 0)) {
    case 64:
      return copyRange(p, scratch, from, to);
    case 65:
      return turnRange(p, scratch, from, to);
    case 66:
      return fillRange(p, from, to);
    case 67:
      return iotaRange(p, from, to);
    case 68:
      return checkIndices(p, from, to);
    case 69:
      return gatherRange(p, from, to);
    case 70:
      return takeRange(p, from, to);
    case 71:
      return patchesRange(p, from, to);
    case 72:
      return binaryRange(p, from, to);
    case 73:
      return simpleUnaryRange(p, from, to);
    case 74:
      return integerRange(p, from, to);
    case 75:
      return selectRange(p, from, to);
    case 76:
      return convertRange(p, from, to);
    case 77:
      return functionRange(control, p, from, to);
    case 78:
      return reduceRange(p, from, to);
    case 79:
      return groupUpdates(p);
    case 80:
      return scatterRange(p, from, to);
    case 81:
      return foldRange(p, scratch, from, to);
    case 82:
      return quantizeRange(p, from, to);
    case 83:
      return quantizeColumnsRange(p, from, to);
    case 84:
      return dequantizeRange(p, from, to);
    case 85:
      return rmsNormRange(p, from, to);
    case 86:
      return layerNormRange(p, from, to);
    case 87:
      return reduceMaxRange(p, from, to);
    case 88:
      return argmaxRange(p, from, to);
    case 89:
      return topKRange(p, scratch, from, to);
    case 90:
      return softmaxRange(control, p, from, to);
    case 91:
      return logSoftmaxRange(control, p, from, to);
    case 92:
      return crossEntropyRange(control, p, scratch, from, to);
    case 93:
      return anglesRange(control, p, from, to);
    case 94:
      return rotaryRange(p, scratch, from, to);
    case 95:
      return matmulRange(p, scratch, from, to);
    case 96:
      return checkGrid(p);
    case 97:
      return toGridRange(p, from, to);
    case 98:
      return gridAddRange(p, from, to);
    case 99:
      return fromGridRange(p, from, to);
    case 100:
      return attentionRange(control, p, scratch, from, to);
    case 101:
      return scoresRange(p, scratch, from, to);
    case 102:
      return combineRange(control, p, scratch, from, to);
    case 103:
      return randomBitsRange(p, from, to);
    case 104:
      return dropoutRange(p, from, to);
    case 105:
      return sampleRange(control, p, scratch, from, to);
    case 106:
      return quantizeTurnedRange(p, scratch, from, to);
    default:
      unreachable();
  }
}
