// Counter-based random words (docs/spec/01-numerics.md section 11) in WGSL.
//
//   threefry(key: vec2u, counter: vec2u) -> vec2u
//   droppedOut(x, key: vec2u, i, keep)    element i of dropout, section 21

import type { WgslPiece } from "./piece.ts";
import { RATIO } from "./ratio.ts";
import { SOFT_FLOAT } from "./soft-float.ts";

export const THREEFRY: WgslPiece = {
  name: "threefry",
  needs: [],
  text: /* wgsl */ `
fn threefryTurn(x: vec2u, r: u32) -> vec2u {
  let sum = x.x + x.y;
  return vec2u(sum, ((x.y << r) | (x.y >> (32u - r))) ^ sum);
}
fn threefry(key: vec2u, counter: vec2u) -> vec2u {
  let last = 0x1bd11bdau ^ key.x ^ key.y;
  var a = key.x;
  var b = key.y;
  var c = last;
  var x = counter + key;
  for (var block = 1u; block <= 5u; block++) {
    let isOdd = (block & 1u) == 1u;
    x = threefryTurn(x, select(17u, 13u, isOdd));
    x = threefryTurn(x, select(29u, 15u, isOdd));
    x = threefryTurn(x, select(16u, 26u, isOdd));
    x = threefryTurn(x, select(24u, 6u, isOdd));
    let first = a;
    a = b;
    b = c;
    c = first;
    x = vec2u(x.x + a, x.y + b + block);
  }
  return x;
}
`,
};

export const DROPOUT: WgslPiece = {
  name: "dropout",
  needs: [THREEFRY, RATIO, SOFT_FLOAT],
  text: /* wgsl */ `
fn droppedOut(x: u32, key: vec2u, i: u32, keep: u32) -> u32 {
  if ((threefry(key, vec2u(i, 0u)).x >> 16u) >= keep) { return 0u; }
  return roundRatio(x & 0x80000000u, vec2u(softMantissa(x), 0u), keep, softExponent(x) + 16);
}
`,
};
