// Rounding of one word in WGSL.
//
//   roundShift(m: u32, n: u32) -> u32     RNE(m / 2^n) for any n

import type { WgslPiece } from "./piece.ts";

export const ROUND_SHIFT: WgslPiece = {
  name: "round-shift",
  needs: [],
  text: /* wgsl */ `
fn roundShift(m: u32, n: u32) -> u32 {
  if (n == 0u) { return m; }
  if (n > 32u) { return 0u; }
  let whole = (m >> 1u) >> (n - 1u);
  // The lost bits, brought to the top: half is the top bit alone.
  let lost = m << (32u - n);
  let isUp = lost > 0x80000000u || (lost == 0x80000000u && (whole & 1u) == 1u);
  return whole + select(0u, 1u, isUp);
}
`,
};
