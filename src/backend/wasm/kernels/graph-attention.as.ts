// Attention over a batch (docs/spec/01-numerics.md sections 8 and 20) on the kernels of the decoder. Keys and
// values are first packed by head: K mantissas [head][positions][padded], V mantissas [head][positions / 2]
// [padded][2], where head counts batch by batch, and exponents [head][slots], slots being even.
//
// No floats of its own: those of attention.as.ts.

import { attendHead, headScores, weighHead } from "./attention.as";
import { at4, failFirst } from "./graph-record.as";
import { address, EXP2, word } from "./layout.as";

/** [4] mantissas, [5] exponents, [6] out, [7] exponents out, [8] heads, [9] positions, [10] padded; a unit is a head */
export function packKeysRange(p: usize, from: i32, to: i32): void {
  const heads = word(p, 8);
  const positions = word(p, 9);
  const bytes = <usize>word(p, 10) << 1;
  for (let head = from; head < to; head++) {
    const first = (head / heads) * positions * heads + (head % heads);
    const out = address(p, 6) + <usize>(head * positions) * bytes;
    const exponents = address(p, 7) + (<usize>head * slotsOf(positions) << 2);
    for (let t = 0; t < positions; t++) {
      const row = first + t * heads;
      memory.copy(out + <usize>t * bytes, address(p, 4) + <usize>row * bytes, bytes);
      store<i32>(at4(exponents, t), load<i32>(at4(address(p, 5), row)));
    }
  }
}

// @ts-ignore: decorator
@inline
function slotsOf(positions: i32): usize {
  return <usize>((positions + 1) & ~1);
}

/** Words of packKeysRange */
export function packValuesRange(p: usize, from: i32, to: i32): void {
  const heads = word(p, 8);
  const positions = word(p, 9);
  const padded = word(p, 10);
  const bytes = <usize>padded << 1;
  for (let head = from; head < to; head++) {
    const first = (head / heads) * positions * heads + (head % heads);
    const out = address(p, 6) + <usize>head * slotsOf(positions) * bytes;
    const exponents = address(p, 7) + (<usize>head * slotsOf(positions) << 2);
    for (let t = 0; t < positions; t += 2) {
      const row = first + t * heads;
      const a = address(p, 4) + <usize>row * bytes;
      const b = a + <usize>heads * bytes;
      const pairs = out + <usize>(t >> 1) * (bytes << 1);
      const whole = t + 1 < positions;
      for (let i: usize = 0; i < bytes; i += 16) {
        const x = v128.load(a + i);
        // The partner of an odd last position has weight 0; zeros keep garbage out.
        let y = i16x8.splat(0);
        if (whole) y = v128.load(b + i);
        v128.store(pairs + 2 * i, v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11));
        v128.store(pairs + 2 * i, v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15), 16);
      }
      store<i32>(at4(exponents, t), load<i32>(at4(address(p, 5), row)));
      if (whole) store<i32>(at4(exponents, t + 1), load<i32>(at4(address(p, 5), row + heads)));
    }
  }
}

/** Positions that query row t of `rows` sees. */
// @ts-ignore: decorator
@inline
function visible(p: usize, t: i32): i32 {
  return word(p, 19) != 0 ? word(p, 12) - word(p, 13) + t + 1 : word(p, 12);
}

/**
 * [4] q, [5] q exponents, [6] out, [7] keys, [8] key exponents, [9] values, [10] value exponents, [11] heads,
 * [12] positions, [13] query rows, [14] groups, [15] size, [16] padded, [17, 18] scale, [19] causal; a unit
 * is a head of a query row
 */
export function attentionRange(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const positions = word(p, 12);
  const rows = word(p, 13);
  const groups = word(p, 14);
  const size = word(p, 15);
  const bytes = <usize>word(p, 16) << 1;
  for (let unit = from; unit < to; unit++) {
    const h = unit % heads;
    const t = (unit / heads) % rows;
    const head = <usize>((unit / (heads * rows)) * groups + (h * groups) / heads);
    const slot = (head * slotsOf(positions)) << 2;
    attendHead(
      address(control + EXP2, 0),
      address(p, 4) + <usize>unit * bytes,
      load<i32>(at4(address(p, 5), unit)),
      address(p, 7) + head * <usize>positions * bytes,
      address(p, 9) + head * slotsOf(positions) * bytes,
      address(p, 8) + slot,
      address(p, 10) + slot,
      size,
      word(p, 16),
      visible(p, t),
      word(p, 17),
      word(p, 18),
      scratch,
      address(p, 6) + <usize>unit * (<usize>size << 2),
    );
  }
  failFirst(p, address(p, 6), from * size, to * size, size);
}

/** Words of attentionRange; a unit is a row [batch, head, query row] of the result */
export function scoresRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const positions = word(p, 12);
  const rows = word(p, 13);
  const groups = word(p, 14);
  const bytes = <usize>word(p, 16) << 1;
  for (let unit = from; unit < to; unit++) {
    const t = unit % rows;
    const h = (unit / rows) % heads;
    const batch = unit / (rows * heads);
    const query = (batch * rows + t) * heads + h;
    const head = <usize>(batch * groups + (h * groups) / heads);
    const count = visible(p, t);
    headScores(
      address(p, 4) + <usize>query * bytes,
      load<i32>(at4(address(p, 5), query)),
      address(p, 7) + head * <usize>positions * bytes,
      address(p, 8) + ((head * slotsOf(positions)) << 2),
      word(p, 16),
      count,
      word(p, 17),
      word(p, 18),
      scratch,
    );
    const out = address(p, 6) + <usize>unit * (<usize>positions << 2);
    memory.copy(out, scratch, <usize>count << 2);
    memory.fill(at4(out, count), 0, <usize>(positions - count) << 2);
  }
}

/** Words of attentionRange, but [4] scores; units as there */
export function combineRange(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const positions = word(p, 12);
  const rows = word(p, 13);
  const groups = word(p, 14);
  const size = word(p, 15);
  for (let unit = from; unit < to; unit++) {
    const h = unit % heads;
    const t = (unit / heads) % rows;
    const batch = unit / (heads * rows);
    const head = <usize>(batch * groups + (h * groups) / heads);
    const count = visible(p, t);
    const row = <usize>((batch * heads + h) * rows + t);
    memory.copy(scratch, address(p, 4) + row * (<usize>positions << 2), <usize>count << 2);
    weighHead(
      address(control + EXP2, 0),
      address(p, 9) + head * slotsOf(positions) * (<usize>word(p, 16) << 1),
      address(p, 10) + ((head * slotsOf(positions)) << 2),
      size,
      word(p, 16),
      count,
      scratch,
      address(p, 6) + <usize>unit * (<usize>size << 2),
    );
  }
  failFirst(p, address(p, 6), from * size, to * size, size);
}
