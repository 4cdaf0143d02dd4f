// The tables of the graph ops' functions (docs/spec/01-numerics.md section 15): tanh, erf, the tail of the
// normal distribution and its approximation by a sigmoid, logarithms. Each is computed when first asked
// for, in a tenth of a second, so that who needs none pays nothing. All backends may share them.

import {
  divideFixed,
  erfFixed,
  fallingSigmoidFixed,
  type Fixed,
  fixedFromRatio,
  LN2,
  multiplyFixed,
  naturalLogOfRatio,
  PI,
  roundFixed,
  sqrtFixed,
  tanhFixed,
} from "./constant.ts";
import { roundDivide } from "./round.ts";

/** `N = RNE(2^24 ln 2)`. */
export const LOG_TWO: number = Number(roundFixed(LN2, 24));

const ONE = fixedFromRatio(1n, 1n);

/** `TANH[i] = RNE(2^21 tanh(t)/t)` with `t = i/128`, i in 0..1024. */
export const tanhTable: () => Int32Array = once(() =>
  lookTable(128n, ONE, (t) => divideFixed(tanhFixed(t), t)),
);

/** `ERF[i] = RNE(2^21 erf(t)/t)` with `t = i/256`, i in 0..1024. */
export const erfTable: () => Int32Array = once(() =>
  lookTable(256n, divideFixed(2n * ONE, sqrtFixed(PI)), (t) => divideFixed(erfFixed(t), t)),
);

/** `TAIL[i] = RNE(2^21 Phi(-t))` with `t = i/128`, i in 0..1024; Phi is the normal distribution. */
export const tailTable: () => Int32Array = once(() => {
  const rootOfHalf = sqrtFixed(ONE / 2n);
  return lookTable(128n, ONE / 2n, (t) => (ONE - erfFixed(multiplyFixed(t, rootOfHalf))) / 2n);
});

/** `TAILT[i] = RNE(2^21 sigmoid(-2 sqrt(2/pi) (t + 44715 t^3 / 10^6)))` with `t = i/128`, i in 0..1024. */
export const tailTanhTable: () => Int32Array = once(() => {
  const factor = 2n * sqrtFixed(divideFixed(2n * ONE, PI));
  return lookTable(128n, ONE / 2n, (t) => {
    const cube = multiplyFixed(t, multiplyFixed(t, t));
    return fallingSigmoidFixed(multiplyFixed(factor, t + (cube * 44715n) / 1_000_000n));
  });
});

/** `A[i] = RNE(2^24 ln(1 + i/256))`, i in 0..256. */
export const logTable: () => Int32Array = once(() =>
  Int32Array.from({ length: 257 }, (_, i) =>
    Number(roundFixed(naturalLogOfRatio(256n + BigInt(i), 256n), 24)),
  ),
);

/** `C[i] = RNE(2^11 / (1 + (2i+1)/512)^2)`, i in 0..255. */
export const logCurveTable: () => Int32Array = once(() =>
  Int32Array.from({ length: 256 }, (_, i) =>
    Number(roundDivide(1n << 29n, BigInt(513 + 2 * i) ** 2n)),
  ),
);

/** 1025 values of a function at `i/perUnit`, times 2^21. */
function lookTable(perUnit: bigint, atZero: Fixed, value: (t: Fixed) => Fixed): Int32Array {
  return Int32Array.from({ length: 1025 }, (_, i) =>
    Number(roundFixed(i === 0 ? atZero : value(fixedFromRatio(BigInt(i), perUnit)), 21)),
  );
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
