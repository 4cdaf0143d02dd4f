// Sums of four products of signed bytes in WGSL: the language's own, or the same in shifts where a device
// lacks it or gets it wrong.
//
//   dotBytes(a: u32, b: u32) -> i32

import type { WgslPiece } from "./piece.ts";

export const DOT_NATIVE: WgslPiece = {
  name: "packed dot",
  needs: [],
  text: /* wgsl */ `
fn dotBytes(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}
`,
};

export const DOT_PLAIN: WgslPiece = {
  name: "plain dot",
  needs: [],
  text: /* wgsl */ `
fn dotBytes(a: u32, b: u32) -> i32 {
  let x = bitcast<i32>(a);
  let y = bitcast<i32>(b);
  return ((x << 24u) >> 24u) * ((y << 24u) >> 24u) + ((x << 16u) >> 24u) * ((y << 16u) >> 24u)
    + ((x << 8u) >> 24u) * ((y << 8u) >> 24u) + (x >> 24u) * (y >> 24u);
}
`,
};
