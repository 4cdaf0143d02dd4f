// The program runner: every thread runs the same records on its own share of rows, columns or heads, with
// barriers between. Which thread computes what can change no bit, as each result is computed whole by one.

import { attendHead, rotateSlice, storeValue } from "./attention.as";
import { addBias, geluRows, headNorm, layerNormQuantize } from "./block.as";
import { runGraphRecord } from "./graph.as";
import { rmsNormRange } from "./graph-row.as";
import {
  address,
  BARRIER_COUNT,
  BARRIER_GENERATION,
  CACHES,
  EXP2,
  NATIVE,
  PARTS_TAKEN,
  POSITIONS,
  PROGRAM,
  PROGRAM_LENGTH,
  RECORD_BYTES,
  SCRATCH,
  SCRATCH_BYTES,
  SINES,
  THREADS,
  word,
} from "./layout.as";
import { matmul } from "./matmul.as";
import { rmsNormRow } from "./norm.as";
import { pack } from "./pack.as";
import { addRow, gateRange, largestBits, multiplyRow, quantizeRow, silu } from "./row.as";
import { isBad, markBad, sinePhase } from "./scalar.as";

const WAIT_NS: i64 = 60_000_000_000;
/** Some 20 us, as threads often wait for one of them to do a row's norm, and to sleep and wake takes longer. */
const SPINS: i32 = 40_000;
/** Parts of each thread in a record that threads share. */
const PARTS: i32 = 4;

/**
 * The host's native kernels: 1 if they did this part of the record, of which this thread has done `done` before and
 * no other record since. Called only where the control block says that there are any.
 */
// @ts-ignore: decorator
@external("env", "native")
declare function native(control: usize, record: usize, part: i32, parts: i32, done: i32): i32;

/** Runs the program named in the control block as thread `thread`. */
export function run(control: usize, thread: i32): void {
  const threads = word(control + THREADS, 0);
  const length = word(control + PROGRAM_LENGTH, 0);
  let record = address(control + PROGRAM, 0);
  let isOwn = false;
  for (let i = 0; i < length; i++) {
    const flags = word(record, 1);
    // What comes before or after a record without a barrier goes on with the rows of this thread.
    if (threads == 1 || isOwn || flags == 0 || !isShared(record)) {
      dispatch(control, record, thread, thread, threads, 0);
    } else {
      shareOut(control, record, thread, threads);
    }
    isOwn = flags == 0;
    if (flags != 0) barrier(control, threads);
    // Behind the last barrier the host may already be writing the next program.
    if (i + 1 == length) return;
    if (flags == 2 && load<i32>(address(record, 3)) != i32.MAX_VALUE) {
      barrier(control, threads);
      return;
    }
    record += RECORD_BYTES;
  }
}

/** Whether threads help each other with a record: products, attention and gates of several rows, which take long. */
function isShared(record: usize): bool {
  const op = word(record, 0);
  return (op == 4 || op == 6 || op == 9) && load<i32>(address(record, 2)) > 1;
}

/** Runs this thread's parts of a record, then what is left of others': a slower thread holds up none. */
function shareOut(control: usize, record: usize, thread: i32, threads: i32): void {
  let done = 0;
  for (let i = 0; i < threads; i++) {
    const owner = thread + i < threads ? thread + i : thread + i - threads;
    const next = control + PARTS_TAKEN + (<usize>owner << 4);
    for (;;) {
      const part = atomic.add<i32>(next, 1);
      if (part >= PARTS) break;
      dispatch(control, record, thread, owner * PARTS + part, threads * PARTS, done++);
    }
  }
}

/** Waits for all threads; traps after a minute, as then one of them has died. */
function barrier(control: usize, threads: i32): void {
  if (threads == 1) return;
  const generation = atomic.load<i32>(control + BARRIER_GENERATION);
  if (atomic.add<i32>(control + BARRIER_COUNT, 1) == threads - 1) {
    atomic.store<i32>(control + BARRIER_COUNT, 0);
    for (let i = 0; i < threads; i++) store<i32>(control + PARTS_TAKEN + (<usize>i << 4), 0);
    atomic.add<i32>(control + BARRIER_GENERATION, 1);
    atomic.notify(control + BARRIER_GENERATION, -1);
    return;
  }
  for (let i = 0; i < SPINS; i++) {
    if (atomic.load<i32>(control + BARRIER_GENERATION) != generation) return;
  }
  while (atomic.load<i32>(control + BARRIER_GENERATION) == generation) {
    if (atomic.wait<i32>(control + BARRIER_GENERATION, generation, WAIT_NS) == 2) unreachable();
  }
}

/** Runs part `thread` of `threads` of a record, with the scratch of thread `worker`, which did `done` parts of it before. */
function dispatch(
  control: usize,
  p: usize,
  worker: i32,
  thread: i32,
  threads: i32,
  done: i32,
): void {
  if (word(p, 0) >= 64) return runGraphRecord(control, p, thread, threads);
  if (word(control + NATIVE, 0) != 0 && native(control, p, thread, threads, done) != 0) return;
  const scratch =
    address(control + SCRATCH, 0) + <usize>worker * address(control + SCRATCH_BYTES, 0);
  const table = address(control + EXP2, 0);
  const rows = load<i32>(address(p, 2));
  switch (word(p, 0)) {
    case 1:
      return embed(p, rows, thread, threads);
    case 2:
      return angles(p, rows, address(control + SINES, 0), thread, threads);
    case 3:
      return normQuantize(p, rows, thread, threads);
    case 4:
      return matmul(p, rows, scratch, thread, threads);
    case 5:
      return rotate(control, p, rows, scratch, thread, threads);
    case 6:
      return attend(control, p, rows, table, scratch, thread, threads);
    case 7:
      return quantize(p, rows, thread, threads);
    case 8:
      return addRows(p, rows, thread, threads);
    case 9:
      return gate(p, rows, table, thread, threads);
    case 10:
      return gather(p, rows, thread, threads);
    case 11:
      return norm(p, rows, thread, threads);
    case 12:
      return siluRows(p, rows, table, thread, threads);
    case 13:
      return multiplyRows(p, rows, thread, threads);
    case 14:
      return rotaryRows(p, rows, scratch, thread, threads);
    case 15:
      return argmaxRows(p, rows, thread, threads);
    case 16:
      return layerNormQuantize(p, rows, thread, threads);
    case 17:
      return addBias(p, rows, thread, threads);
    case 18:
      return headNorm(p, rows, thread, threads);
    case 19:
      return geluRows(p, rows, thread, threads);
    case 20:
      return pack(p, scratch, thread, threads);
    default:
      unreachable();
  }
}

/** [4] table, [5] columns, [6] tokens, [7] out */
function embed(p: usize, rows: i32, thread: i32, threads: i32): void {
  const bytes = <usize>word(p, 5) << 2;
  for (let r = thread; r < rows; r += threads) {
    const token = <usize>load<u32>(address(p, 6) + (<usize>r << 2));
    memory.copy(address(p, 7) + <usize>r * bytes, address(p, 4) + token * bytes, bytes);
  }
}

/** [4] steps, [5] pairs, [6] positions, [7] out: cosine, sine per pair */
function angles(p: usize, rows: i32, table: usize, thread: i32, threads: i32): void {
  const pairs = word(p, 5);
  for (let r = thread; r < rows; r += threads) {
    const position = load<u32>(address(p, 6) + (<usize>r << 2));
    const out = address(p, 7) + <usize>r * (<usize>pairs << 3);
    for (let i = 0; i < pairs; i++) {
      const phase = position * load<u32>(address(p, 4) + (<usize>i << 2));
      store<i32>(out + (<usize>i << 3), sinePhase(table, phase + 0x40000000));
      store<i32>(out + (<usize>i << 3) + 4, sinePhase(table, phase));
    }
  }
}

/** [3] status, [4] x, [5] gain, [6] n, [7] padded, [8..10] eps mantissa, exponent, floor, [11] y, [12] out, [13] exponents, [14] bits, [15] gain's op */
function normQuantize(p: usize, rows: i32, thread: i32, threads: i32): void {
  if (thread >= rows) return;
  const n = word(p, 6);
  const padded = word(p, 7);
  let x = address(p, 4) + <usize>thread * (<usize>n << 2);
  let y = address(p, 11) + <usize>thread * (<usize>n << 2);
  let largest = largestBits(x, n);
  for (let r = thread; r < rows; r += threads) {
    const step = r + threads < rows ? <usize>threads * (<usize>n << 2) : 0;
    largest = rmsNormRow(x, n, word(p, 8), word(p, 9), word(p, 10), y, largest, step);
    if (isBad(multiplyRow(y, address(p, 5), n, y))) markBad(address(p, 3), r, word(p, 15));
    const out = address(p, 12) + <usize>r * (<usize>padded << 1);
    store<i32>(address(p, 13) + (<usize>r << 2), quantizeRow(y, n, padded, word(p, 14), -149, out));
    x += step;
    y += step;
  }
}

/** [3] status, [4] qkv, [5] columns, [6] heads, [7] kvHeads, [8] size, [9] padded, [10] angles, [11] interleaved (0, 1) or not turned (2), [12] q out, [13] q exponents, [14] layer, [16] query's rotary op */
function rotate(
  control: usize,
  p: usize,
  rows: i32,
  scratch: usize,
  thread: i32,
  threads: i32,
): void {
  const heads = word(p, 6);
  const kvHeads = word(p, 7);
  const size = word(p, 8);
  const padded = word(p, 9);
  const units = heads + 2 * kvHeads;
  const turned = scratch + (<usize>padded << 1);
  const total = rows * units;
  for (let unit = thread; unit < total; unit += threads) {
    const r = unit / units;
    const h = unit % units;
    const x = address(p, 4) + ((<usize>r * <usize>word(p, 5) + <usize>h * <usize>size) << 2);
    const turns = address(p, 10) + <usize>r * (<usize>size << 2);
    const isTurned = word(p, 11) != 2;
    const source = isTurned ? turned : x;
    if (isTurned && h < heads + kvHeads) {
      const good = rotateSlice(x, size, padded, turns, word(p, 11) != 0, scratch, turned);
      if (!good) markBad(address(p, 3), r, word(p, 16) + (h < heads ? 0 : 1));
    }
    if (h < heads) {
      const at = <usize>(r * heads + h);
      const out = address(p, 12) + at * (<usize>padded << 1);
      store<i32>(address(p, 13) + (at << 2), quantizeRow(source, size, padded, 13, -149, out));
      continue;
    }
    const position = load<i32>(address(control + POSITIONS, 0) + (<usize>r << 2));
    const cache = address(address(control + CACHES, 0), r);
    const capacity = load<i32>(cache);
    const group = h < heads + kvHeads ? h - heads : h - heads - kvHeads;
    const layer = cache + 16 + <usize>word(p, 14) * layerBytes(kvHeads, capacity, padded);
    const half = <usize>kvHeads * <usize>capacity * (<usize>padded << 1);
    const exponents = layer + 2 * half + (<usize>(group * capacity + position) << 2);
    if (h < heads + kvHeads) {
      const out = layer + <usize>(group * capacity + position) * (<usize>padded << 1);
      store<i32>(exponents, quantizeRow(source, size, padded, 13, -149, out));
    } else {
      const e = quantizeRow(x, size, padded, 13, -149, scratch);
      const values = layer + half + <usize>group * <usize>capacity * (<usize>padded << 1);
      storeValue(scratch, padded, values, position);
      store<i32>(exponents + (<usize>(kvHeads * capacity) << 2), e);
    }
  }
}

/** Bytes of one layer in a cache: K, V, and their exponents. */
// @ts-ignore: decorator
@inline
function layerBytes(kvHeads: i32, capacity: i32, padded: i32): usize {
  return <usize>kvHeads * <usize>capacity * ((<usize>padded << 2) + 8);
}

/** [4] q, [5] q exponents, [6] heads, [7] kvHeads, [8] size, [9] padded, [10] scale mantissa, [11] scale exponent, [12] out, [13] layer */
function attend(
  control: usize,
  p: usize,
  rows: i32,
  table: usize,
  scratch: usize,
  thread: i32,
  threads: i32,
): void {
  const heads = word(p, 6);
  const kvHeads = word(p, 7);
  const size = word(p, 8);
  const padded = word(p, 9);
  const total = rows * heads;
  for (let unit = thread; unit < total; unit += threads) {
    const r = unit / heads;
    const h = unit % heads;
    const count = load<i32>(address(control + POSITIONS, 0) + (<usize>r << 2)) + 1;
    const cache = address(address(control + CACHES, 0), r);
    const capacity = load<i32>(cache);
    const group = <usize>((h * kvHeads) / heads);
    const layer = cache + 16 + <usize>word(p, 13) * layerBytes(kvHeads, capacity, padded);
    const half = <usize>kvHeads * <usize>capacity * (<usize>padded << 1);
    const head = group * <usize>capacity * (<usize>padded << 1);
    const exponents = layer + 2 * half + ((group * <usize>capacity) << 2);
    attendHead(
      table,
      address(p, 4) + <usize>unit * (<usize>padded << 1),
      load<i32>(address(p, 5) + (<usize>unit << 2)),
      layer + head,
      layer + half + head,
      exponents,
      exponents + (<usize>(kvHeads * capacity) << 2),
      size,
      padded,
      count,
      word(p, 10),
      word(p, 11),
      scratch,
      address(p, 12) + <usize>unit * (<usize>size << 2),
    );
  }
}

/** [4] x, [5] n, [6] padded, [7] out, [8] exponents, [9] bits */
function quantize(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 5);
  const padded = word(p, 6);
  for (let r = thread; r < rows; r += threads) {
    const x = address(p, 4) + <usize>r * (<usize>n << 2);
    const out = address(p, 7) + <usize>r * (<usize>padded << 1);
    store<i32>(address(p, 8) + (<usize>r << 2), quantizeRow(x, n, padded, word(p, 9), -149, out));
  }
}

/** [3] status, [4] left, [5] left columns, [6] right, [7] right columns, [8] n, [9] out, [10] op */
function addRows(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 8);
  for (let r = thread; r < rows; r += threads) {
    const left = address(p, 4) + ((<usize>r * <usize>word(p, 5)) << 2);
    const right = address(p, 6) + ((<usize>r * <usize>word(p, 7)) << 2);
    const out = address(p, 9) + ((<usize>r * <usize>word(p, 5)) << 2);
    if (isBad(addRow(left, right, n, out))) markBad(address(p, 3), r, word(p, 10));
  }
}

/** [3] status, [4] gate, [5] columns, [6] offset of up, [7] n, [8] out, [9] op of the product */
function gate(p: usize, rows: i32, table: usize, thread: i32, threads: i32): void {
  const n = word(p, 7);
  const from = <i32>((<i64>n * thread) / threads);
  const to = <i32>((<i64>n * (thread + 1)) / threads);
  for (let r = 0; r < rows; r++) {
    const x = address(p, 4) + ((<usize>r * <usize>word(p, 5)) << 2);
    const up = x + (<usize>word(p, 6) << 2);
    const out = address(p, 8) + <usize>r * (<usize>n << 2);
    if (!gateRange(table, x, up, from, to, out)) markBad(address(p, 3), r, word(p, 9));
  }
}

/** [4] x, [5] n, [6] row numbers, [7] out */
function gather(p: usize, rows: i32, thread: i32, threads: i32): void {
  const bytes = <usize>word(p, 5) << 2;
  for (let r = thread; r < rows; r += threads) {
    const from = <usize>load<u32>(address(p, 6) + (<usize>r << 2));
    memory.copy(address(p, 7) + <usize>r * bytes, address(p, 4) + from * bytes, bytes);
  }
}

/** Words of rmsNormRange */
function norm(p: usize, rows: i32, thread: i32, threads: i32): void {
  const from = <i32>((<i64>rows * thread) / threads);
  const to = <i32>((<i64>rows * (thread + 1)) / threads);
  if (from < to) rmsNormRange(p, from, to);
}

/** [4] x, [5] n, [6] out */
function siluRows(p: usize, rows: i32, table: usize, thread: i32, threads: i32): void {
  const n = word(p, 5);
  for (let r = thread; r < rows; r += threads) {
    for (let i = 0; i < n; i++) {
      const at = <usize>(r * n + i) << 2;
      store<f32>(address(p, 6) + at, silu(table, load<f32>(address(p, 4) + at)));
    }
  }
}

/** [3] status, [4] left, [5] right, [6] n, [7] out */
function multiplyRows(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 6);
  for (let r = thread; r < rows; r += threads) {
    const at = <usize>r * (<usize>n << 2);
    const bits = multiplyRow(address(p, 4) + at, address(p, 5) + at, n, address(p, 7) + at);
    if (isBad(bits)) markBad(address(p, 3), r, 0);
  }
}

/** [3] status, [4] x, [5] heads, [6] size, [7] padded, [8] angles, [9] interleaved, [10] out */
function rotaryRows(p: usize, rows: i32, scratch: usize, thread: i32, threads: i32): void {
  const heads = word(p, 5);
  const size = word(p, 6);
  for (let unit = thread; unit < rows * heads; unit += threads) {
    const r = unit / heads;
    const at = <usize>unit * (<usize>size << 2);
    const turns = address(p, 8) + <usize>r * (<usize>size << 2);
    const out = address(p, 10) + at;
    const x = address(p, 4) + at;
    if (!rotateSlice(x, size, word(p, 7), turns, word(p, 9) != 0, scratch, out)) {
      markBad(address(p, 3), r, 0);
    }
  }
}

/** [4] x, [5] n, [6] out */
function argmaxRows(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 5);
  for (let r = thread; r < rows; r += threads) {
    const x = address(p, 4) + <usize>r * (<usize>n << 2);
    let best = 0;
    for (let i = 1; i < n; i++) {
      if (load<f32>(x + (<usize>i << 2)) > load<f32>(x + (<usize>best << 2))) best = i;
    }
    store<i32>(address(p, 6) + (<usize>r << 2), best);
  }
}
