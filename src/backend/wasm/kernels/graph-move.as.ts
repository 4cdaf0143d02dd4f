// Ops that move values (docs/spec/01-numerics.md sections 14 and 19). Elements of 4 bytes unless the
// record says otherwise; where an i32 names a row, it has been checked by `checkIndices` before.

import { address, word } from "./layout.as";
import { at4, failRow } from "./graph-record.as";

// @ts-ignore: decorator
@inline
function moveOne(from: usize, to: usize, bytes: i32): void {
  if (bytes == 4) store<i32>(to, load<i32>(from));
  else if (bytes == 8) store<i64>(to, load<i64>(from));
  else memory.copy(to, from, <usize>bytes);
}

// @ts-ignore: decorator
@inline
function isOutside(index: i32, bound: i32): bool {
  return <u32>index >= <u32>bound;
}

/**
 * [4] axes: words size, step in, step out (bytes) of each, outermost first; [5] in, [6] out, [7] number of
 * axes, [8] bytes of an element. A unit is one run along the last axis. Steps may be 0.
 */
export function copyRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const axes = address(p, 4);
  const last = word(p, 7) - 1;
  const bytes = word(p, 8);
  const inner = axes + <usize>last * 12;
  const count = load<i32>(inner);
  const stepIn = load<i32>(inner, 4);
  const stepOut = load<i32>(inner, 8);
  const dense = stepIn == bytes && stepOut == bytes;
  let source = address(p, 5);
  let target = address(p, 6);
  let rest = from;
  for (let axis = last - 1; axis >= 0; axis--) {
    const at = axes + <usize>axis * 12;
    const size = load<i32>(at);
    const index = rest % size;
    rest /= size;
    store<i32>(at4(scratch, axis), index);
    source += <usize>load<u32>(at, 4) * <usize>index;
    target += <usize>load<u32>(at, 8) * <usize>index;
  }
  for (let unit = from; unit < to; unit++) {
    if (dense) memory.copy(target, source, <usize>count * <usize>bytes);
    else {
      let x = source;
      let y = target;
      for (let i = 0; i < count; i++) {
        moveOne(x, y, bytes);
        x += <usize>stepIn;
        y += <usize>stepOut;
      }
    }
    for (let axis = last - 1; axis >= 0; axis--) {
      const at = axes + <usize>axis * 12;
      const index = load<i32>(at4(scratch, axis)) + 1;
      source += <usize>load<u32>(at, 4);
      target += <usize>load<u32>(at, 8);
      if (index < load<i32>(at)) {
        store<i32>(at4(scratch, axis), index);
        break;
      }
      store<i32>(at4(scratch, axis), 0);
      source -= <usize>load<u32>(at, 4) * <usize>index;
      target -= <usize>load<u32>(at, 8) * <usize>index;
    }
  }
}

/** Rows that are copied side by side at a time, in the first cache. */
const ROWS_AT_ONCE: i32 = 256;

/** Four columns of a block of 64 bytes a row become four rows. */
function turnGroup(x: usize, rows: i32, y: usize, step: usize): void {
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const a = v128.load(x);
    const b = v128.load(x, 64);
    const c = v128.load(x, 128);
    const d = v128.load(x, 192);
    const low = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    const high = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const low2 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
    const high2 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    v128.store(y, v128.shuffle<i64>(low, low2, 0, 2));
    v128.store(y + step, v128.shuffle<i64>(low, low2, 1, 3));
    v128.store(y + 2 * step, v128.shuffle<i64>(high, high2, 0, 2));
    v128.store(y + 3 * step, v128.shuffle<i64>(high, high2, 1, 3));
    x += 256;
    y += 16;
  }
  for (; r < rows; r++) {
    for (let c: usize = 0; c < 4; c++) store<i32>(y + c * step, load<i32>(x + (c << 2)));
    x += 64;
    y += 4;
  }
}

/** Sixteen columns become sixteen rows, by way of a block: rows far apart fight for places in the caches. */
function turnColumns(x: usize, stepIn: usize, rows: i32, y: usize, stepOut: usize, block: usize): void {
  for (let r = 0; r < rows; r++) {
    const to = block + (<usize>r << 6);
    v128.store(to, v128.load(x));
    v128.store(to, v128.load(x, 16), 16);
    v128.store(to, v128.load(x, 32), 32);
    v128.store(to, v128.load(x, 48), 48);
    x += stepIn;
  }
  turnGroup(block, rows, y, stepOut);
  turnGroup(block + 16, rows, y + 4 * stepOut, stepOut);
  turnGroup(block + 32, rows, y + 8 * stepOut, stepOut);
  turnGroup(block + 48, rows, y + 12 * stepOut, stepOut);
}

/**
 * [4] in, [5] rows, [6] out, [7] columns: matrices one after another; a unit is 16 columns of one. Scratch: 16384
 * bytes.
 */
export function turnRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const rows = word(p, 5);
  const columns = word(p, 7);
  const blocks = (columns + 15) >> 4;
  const stepIn = <usize>columns << 2;
  const stepOut = <usize>rows << 2;
  for (let unit = from; unit < to; unit++) {
    const matrix = <usize>(unit / blocks) * (<usize>rows * stepIn);
    const column = (unit % blocks) << 4;
    const x = address(p, 4) + matrix + (<usize>column << 2);
    const y = address(p, 6) + matrix + <usize>column * stepOut;
    if (column + 16 <= columns) {
      for (let r = 0; r < rows; r += ROWS_AT_ONCE) {
        const count = min(ROWS_AT_ONCE, rows - r);
        turnColumns(x + <usize>r * stepIn, stepIn, count, y + (<usize>r << 2), stepOut, scratch);
      }
      continue;
    }
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns - column; c++) {
        const value = load<i32>(x + <usize>r * stepIn + (<usize>c << 2));
        store<i32>(y + <usize>c * stepOut + (<usize>r << 2), value);
      }
    }
  }
}

/** [4] the word, [6] out: 4-byte units, all the same */
export function fillRange(p: usize, from: i32, to: i32): void {
  const value = word(p, 4);
  for (let i = from; i < to; i++) store<i32>(at4(address(p, 6), i), value);
}

/** [4] inner, [5] size, [6] out: the index along an axis whose steps are `inner` elements */
export function iotaRange(p: usize, from: i32, to: i32): void {
  const inner = word(p, 4);
  const size = word(p, 5);
  for (let i = from; i < to; i++) store<i32>(at4(address(p, 6), i), (i / inner) % size);
}

/** [4] indices, [5] bound, [6] indices a row: a unit is a row of indices, all of which are below the bound */
export function checkIndices(p: usize, from: i32, to: i32): void {
  const count = word(p, 6);
  for (let row = from; row < to; row++) {
    for (let i = 0; i < count; i++) {
      if (!isOutside(load<i32>(at4(address(p, 4), row * count + i)), word(p, 5))) continue;
      failRow(p, row);
      return;
    }
  }
}

/** [4] table, [5] bytes of an entry, [6] out, [7] indices */
export function gatherRange(p: usize, from: i32, to: i32): void {
  const bytes = word(p, 5);
  for (let i = from; i < to; i++) {
    const index = <usize>load<u32>(at4(address(p, 7), i));
    const source = address(p, 4) + index * <usize>bytes;
    moveOne(source, address(p, 6) + <usize>i * <usize>bytes, bytes);
  }
}

/** [4] x, [5] columns, [6] out, [7] indices, [8] indices a row */
export function takeRange(p: usize, from: i32, to: i32): void {
  const count = word(p, 8);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>word(p, 5) << 2);
    for (let i = 0; i < count; i++) {
      const at = row * count + i;
      const index = load<i32>(at4(address(p, 7), at));
      store<i32>(at4(address(p, 6), at), load<i32>(at4(x, index)));
    }
  }
}

/**
 * [4] x, [5] value, [6] out, [7] image height, [8] width, [9] channels, [10] result height, [11] width,
 * [12, 13] kernel, [14, 15] stride, [16, 17] dilation, [18, 19] padding; a unit is one window.
 */
export function patchesRange(p: usize, from: i32, to: i32): void {
  const height = word(p, 7);
  const width = word(p, 8);
  const channels = word(p, 9);
  const down = word(p, 10);
  const across = word(p, 11);
  const run = <usize>channels << 2;
  for (let unit = from; unit < to; unit++) {
    const batch = unit / (down * across);
    const top = ((unit / across) % down) * word(p, 14) - word(p, 18);
    const left = (unit % across) * word(p, 15) - word(p, 19);
    let out = address(p, 6) + <usize>unit * <usize>(word(p, 12) * word(p, 13)) * run;
    for (let i = 0; i < word(p, 12); i++) {
      const row = top + i * word(p, 16);
      for (let j = 0; j < word(p, 13); j++) {
        const column = left + j * word(p, 17);
        if (isOutside(row, height) || isOutside(column, width)) {
          for (let c = 0; c < channels; c++) store<i32>(at4(out, c), word(p, 5));
        } else {
          const at = <usize>((batch * height + row) * width + column);
          memory.copy(out, address(p, 4) + at * run, run);
        }
        out += run;
      }
    }
  }
}
