// Tiles of a product: four rows by two columns, two by four, one by four and one by eight. Each computes its
// outputs whole, from the record of a matmul (see ./matmul.as.ts) and the address of its first weight.

import {
  addDot,
  addUpper,
  anyBad,
  highPair,
  keepLower,
  laneSums,
  lowPair,
  next0,
  next1,
  next2,
  next3,
  storePair,
  weights0,
  weights1,
  weights2,
  weights3,
  whole,
} from "./dot.as";
import { address, word } from "./layout.as";
import { isBad, markBad, power } from "./scalar.as";

/** 2^e of a row, twice. */
// @ts-ignore: decorator
@inline
function rowFactor(p: usize, row: i32): v128 {
  return f64x2.splat(power(load<i32>(address(p, 5) + (<usize>row << 2))));
}

/** Whether the total of all products fits i32, so that no carry is needed. */
// @ts-ignore: decorator
@inline
function isNarrow(p: usize): bool {
  return <i64>word(p, 8) * 4 <= <i64>word(p, 10);
}

/** Four rows by two columns. */
export function rowsByTwo<T>(p: usize, row: i32, column: i32, w: usize): void {
  const narrow = isNarrow(p);
  const spill = word(p, 10);
  const stride = <usize>word(p, 8) << 4;
  let left = word(p, 8);
  let a = address(p, 4) + <usize>row * stride;
  let b = a + stride;
  let c = b + stride;
  let d = c + stride;
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  let ha0 = a0;
  let ha1 = a0;
  let hb0 = a0;
  let hb1 = a0;
  let hc0 = a0;
  let hc1 = a0;
  let hd0 = a0;
  let hd1 = a0;
  while (true) {
    let n = min(left, spill);
    left -= n;
    for (; n >= 2; n -= 2) {
      let u = weights0<T>(w);
      let v = weights1<T>(w);
      let x = v128.load(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = v128.load(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = v128.load(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = v128.load(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      u = next0<T>(w);
      v = next1<T>(w);
      x = v128.load(a, 16);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = v128.load(b, 16);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = v128.load(c, 16);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = v128.load(d, 16);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      a += 32;
      b += 32;
      c += 32;
      d += 32;
      w += 64 * sizeof<T>();
    }
    if (n > 0) {
      let u = weights0<T>(w);
      let v = weights1<T>(w);
      let x = v128.load(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = v128.load(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = v128.load(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = v128.load(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      a += 16;
      b += 16;
      c += 16;
      d += 16;
      w += 32 * sizeof<T>();
    }
    if (narrow) break;
    ha0 = addUpper(ha0, a0);
    a0 = keepLower(a0);
    ha1 = addUpper(ha1, a1);
    a1 = keepLower(a1);
    hb0 = addUpper(hb0, b0);
    b0 = keepLower(b0);
    hb1 = addUpper(hb1, b1);
    b1 = keepLower(b1);
    hc0 = addUpper(hc0, c0);
    c0 = keepLower(c0);
    hc1 = addUpper(hc1, c1);
    c1 = keepLower(c1);
    hd0 = addUpper(hd0, d0);
    d0 = keepLower(d0);
    hd1 = addUpper(hd1, d1);
    d1 = keepLower(d1);
    if (left == 0) break;
  }
  const scales = v128.load(address(p, 7) + (<usize>column << 3));
  const outStride = <usize>word(p, 13) << 2;
  const out = address(p, 12) + <usize>row * outStride + (<usize>column << 2);
  const fa = rowFactor(p, row);
  const fb = rowFactor(p, row + 1);
  const fc = rowFactor(p, row + 2);
  const fd = rowFactor(p, row + 3);
  let ta: v128;
  let tb: v128;
  let tc: v128;
  let td: v128;
  if (narrow) {
    const ab = laneSums(a0, a1, b0, b1);
    const cd = laneSums(c0, c1, d0, d1);
    ta = lowPair(ab);
    tb = highPair(ab);
    tc = lowPair(cd);
    td = highPair(cd);
  } else {
    const u = laneSums(ha0, ha1, hb0, hb1);
    const v = laneSums(hc0, hc1, hd0, hd1);
    const x = laneSums(a0, a1, b0, b1);
    const y = laneSums(c0, c1, d0, d1);
    ta = whole(lowPair(u), lowPair(x));
    tb = whole(highPair(u), highPair(x));
    tc = whole(lowPair(v), lowPair(y));
    td = whole(highPair(v), highPair(y));
  }
  let seen = storePair(ta, scales, fa, out);
  seen = i32x4.max_u(seen, storePair(tb, scales, fb, out + outStride));
  seen = i32x4.max_u(seen, storePair(tc, scales, fc, out + 2 * outStride));
  seen = i32x4.max_u(seen, storePair(td, scales, fd, out + 3 * outStride));
  if (anyBad(seen)) noteBad(p, row, 4, column, 2);
}

/** Stores a row's four outputs from the totals of the partial sums and, unless narrow, of their upper halves. */
// @ts-ignore: decorator
@inline
function storeRow(p: usize, row: i32, column: i32, narrow: bool, sums: v128, uppers: v128): v128 {
  let low = lowPair(sums);
  let high = highPair(sums);
  if (!narrow) {
    low = whole(lowPair(uppers), low);
    high = whole(highPair(uppers), high);
  }
  const scales = address(p, 7) + (<usize>column << 3);
  const out =
    address(p, 12) + <usize>row * (<usize>word(p, 13) << 2) + (<usize>column << 2);
  const factor = rowFactor(p, row);
  const seen = storePair(low, v128.load(scales), factor, out);
  return i32x4.max_u(seen, storePair(high, v128.load(scales, 16), factor, out + 8));
}

/** Two rows by four columns. */
export function rowsByFour<T>(p: usize, row: i32, column: i32, w: usize): void {
  const narrow = isNarrow(p);
  const spill = word(p, 10);
  const stride = <usize>word(p, 8) << 4;
  let left = word(p, 8);
  let a = address(p, 4) + <usize>row * stride;
  let b = a + stride;
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  let ha0 = a0;
  let ha1 = a0;
  let ha2 = a0;
  let ha3 = a0;
  let hb0 = a0;
  let hb1 = a0;
  let hb2 = a0;
  let hb3 = a0;
  while (true) {
    let n = min(left, spill);
    left -= n;
    for (; n >= 2; n -= 2) {
      let x = v128.load(a);
      let y = v128.load(b);
      let u = weights0<T>(w);
      a0 = addDot(a0, x, u);
      b0 = addDot(b0, y, u);
      u = weights1<T>(w);
      a1 = addDot(a1, x, u);
      b1 = addDot(b1, y, u);
      u = weights2<T>(w);
      a2 = addDot(a2, x, u);
      b2 = addDot(b2, y, u);
      u = weights3<T>(w);
      a3 = addDot(a3, x, u);
      b3 = addDot(b3, y, u);
      x = v128.load(a, 16);
      y = v128.load(b, 16);
      u = next0<T>(w);
      a0 = addDot(a0, x, u);
      b0 = addDot(b0, y, u);
      u = next1<T>(w);
      a1 = addDot(a1, x, u);
      b1 = addDot(b1, y, u);
      u = next2<T>(w);
      a2 = addDot(a2, x, u);
      b2 = addDot(b2, y, u);
      u = next3<T>(w);
      a3 = addDot(a3, x, u);
      b3 = addDot(b3, y, u);
      a += 32;
      b += 32;
      w += 64 * sizeof<T>();
    }
    if (n > 0) {
      let x = v128.load(a);
      let y = v128.load(b);
      let u = weights0<T>(w);
      a0 = addDot(a0, x, u);
      b0 = addDot(b0, y, u);
      u = weights1<T>(w);
      a1 = addDot(a1, x, u);
      b1 = addDot(b1, y, u);
      u = weights2<T>(w);
      a2 = addDot(a2, x, u);
      b2 = addDot(b2, y, u);
      u = weights3<T>(w);
      a3 = addDot(a3, x, u);
      b3 = addDot(b3, y, u);
      a += 16;
      b += 16;
      w += 32 * sizeof<T>();
    }
    if (narrow) break;
    ha0 = addUpper(ha0, a0);
    a0 = keepLower(a0);
    ha1 = addUpper(ha1, a1);
    a1 = keepLower(a1);
    ha2 = addUpper(ha2, a2);
    a2 = keepLower(a2);
    ha3 = addUpper(ha3, a3);
    a3 = keepLower(a3);
    hb0 = addUpper(hb0, b0);
    b0 = keepLower(b0);
    hb1 = addUpper(hb1, b1);
    b1 = keepLower(b1);
    hb2 = addUpper(hb2, b2);
    b2 = keepLower(b2);
    hb3 = addUpper(hb3, b3);
    b3 = keepLower(b3);
    if (left == 0) break;
  }
  const sa = laneSums(a0, a1, a2, a3);
  const sb = laneSums(b0, b1, b2, b3);
  const seen = storeRow(p, row, column, narrow, sa, laneSums(ha0, ha1, ha2, ha3));
  const also = storeRow(p, row + 1, column, narrow, sb, laneSums(hb0, hb1, hb2, hb3));
  if (anyBad(i32x4.max_u(seen, also))) noteBad(p, row, 2, column, 4);
}

/** One row by four columns: what decoding one sequence does, at the speed of memory. */
export function rowByFour<T>(p: usize, row: i32, column: i32, w: usize): void {
  const narrow = isNarrow(p);
  const spill = word(p, 10);
  let left = word(p, 8);
  let a = address(p, 4) + <usize>row * (<usize>left << 4);
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let ha0 = a0;
  let ha1 = a0;
  let ha2 = a0;
  let ha3 = a0;
  while (true) {
    let n = min(left, spill);
    left -= n;
    for (; n >= 2; n -= 2) {
      let x = v128.load(a);
      a0 = addDot(a0, x, weights0<T>(w));
      a1 = addDot(a1, x, weights1<T>(w));
      a2 = addDot(a2, x, weights2<T>(w));
      a3 = addDot(a3, x, weights3<T>(w));
      x = v128.load(a, 16);
      a0 = addDot(a0, x, next0<T>(w));
      a1 = addDot(a1, x, next1<T>(w));
      a2 = addDot(a2, x, next2<T>(w));
      a3 = addDot(a3, x, next3<T>(w));
      a += 32;
      w += 64 * sizeof<T>();
    }
    if (n > 0) {
      let x = v128.load(a);
      a0 = addDot(a0, x, weights0<T>(w));
      a1 = addDot(a1, x, weights1<T>(w));
      a2 = addDot(a2, x, weights2<T>(w));
      a3 = addDot(a3, x, weights3<T>(w));
      a += 16;
      w += 32 * sizeof<T>();
    }
    if (narrow) break;
    ha0 = addUpper(ha0, a0);
    a0 = keepLower(a0);
    ha1 = addUpper(ha1, a1);
    a1 = keepLower(a1);
    ha2 = addUpper(ha2, a2);
    a2 = keepLower(a2);
    ha3 = addUpper(ha3, a3);
    a3 = keepLower(a3);
    if (left == 0) break;
  }
  const sums = laneSums(a0, a1, a2, a3);
  const uppers = laneSums(ha0, ha1, ha2, ha3);
  if (anyBad(storeRow(p, row, column, narrow, sums, uppers))) noteBad(p, row, 1, column, 4);
}

/** One row by two groups of four columns, `apart` groups apart: two streams keep memory busier than one. */
export function rowByEight<T>(p: usize, row: i32, column: i32, apart: i32, w: usize): void {
  const narrow = isNarrow(p);
  const spill = word(p, 10);
  let blocks = word(p, 8);
  let left = address(p, 4) + <usize>row * (<usize>blocks << 4);
  let a = w;
  let b = w + <usize>apart * (<usize>blocks << 5) * sizeof<T>();
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  let ha0 = a0;
  let ha1 = a0;
  let ha2 = a0;
  let ha3 = a0;
  let hb0 = a0;
  let hb1 = a0;
  let hb2 = a0;
  let hb3 = a0;
  while (true) {
    let n = min(blocks, spill);
    blocks -= n;
    for (; n >= 2; n -= 2) {
      let x = v128.load(left);
      a0 = addDot(a0, x, weights0<T>(a));
      b0 = addDot(b0, x, weights0<T>(b));
      a1 = addDot(a1, x, weights1<T>(a));
      b1 = addDot(b1, x, weights1<T>(b));
      a2 = addDot(a2, x, weights2<T>(a));
      b2 = addDot(b2, x, weights2<T>(b));
      a3 = addDot(a3, x, weights3<T>(a));
      b3 = addDot(b3, x, weights3<T>(b));
      x = v128.load(left, 16);
      a0 = addDot(a0, x, next0<T>(a));
      b0 = addDot(b0, x, next0<T>(b));
      a1 = addDot(a1, x, next1<T>(a));
      b1 = addDot(b1, x, next1<T>(b));
      a2 = addDot(a2, x, next2<T>(a));
      b2 = addDot(b2, x, next2<T>(b));
      a3 = addDot(a3, x, next3<T>(a));
      b3 = addDot(b3, x, next3<T>(b));
      left += 32;
      a += 64 * sizeof<T>();
      b += 64 * sizeof<T>();
    }
    if (n > 0) {
      const x = v128.load(left);
      a0 = addDot(a0, x, weights0<T>(a));
      b0 = addDot(b0, x, weights0<T>(b));
      a1 = addDot(a1, x, weights1<T>(a));
      b1 = addDot(b1, x, weights1<T>(b));
      a2 = addDot(a2, x, weights2<T>(a));
      b2 = addDot(b2, x, weights2<T>(b));
      a3 = addDot(a3, x, weights3<T>(a));
      b3 = addDot(b3, x, weights3<T>(b));
      left += 16;
      a += 32 * sizeof<T>();
      b += 32 * sizeof<T>();
    }
    if (narrow) break;
    ha0 = addUpper(ha0, a0);
    a0 = keepLower(a0);
    ha1 = addUpper(ha1, a1);
    a1 = keepLower(a1);
    ha2 = addUpper(ha2, a2);
    a2 = keepLower(a2);
    ha3 = addUpper(ha3, a3);
    a3 = keepLower(a3);
    hb0 = addUpper(hb0, b0);
    b0 = keepLower(b0);
    hb1 = addUpper(hb1, b1);
    b1 = keepLower(b1);
    hb2 = addUpper(hb2, b2);
    b2 = keepLower(b2);
    hb3 = addUpper(hb3, b3);
    b3 = keepLower(b3);
    if (blocks == 0) break;
  }
  const sa = laneSums(a0, a1, a2, a3);
  const sb = laneSums(b0, b1, b2, b3);
  const seen = storeRow(p, row, column, narrow, sa, laneSums(ha0, ha1, ha2, ha3));
  const other = column + (apart << 2);
  const also = storeRow(p, row, other, narrow, sb, laneSums(hb0, hb1, hb2, hb3));
  if (anyBad(seen)) noteBad(p, row, 1, column, 4);
  if (anyBad(also)) noteBad(p, row, 1, other, 4);
}

/** Notes which of a tile's stored outputs are not finite; columns may belong to up to three ops. */
function noteBad(p: usize, row: i32, rows: i32, column: i32, columns: i32): void {
  const stride = <usize>word(p, 13) << 2;
  for (let r = row; r < row + rows; r++) {
    for (let c = column; c < column + columns; c++) {
      const bits = load<i32>(address(p, 12) + <usize>r * stride + (<usize>c << 2)) & 0x7fffffff;
      if (!isBad(bits)) continue;
      const index = word(p, 14) + (c >= word(p, 15) ? 1 : 0) + (c >= word(p, 16) ? 1 : 0);
      markBad(address(p, 3), r, index);
    }
  }
}
