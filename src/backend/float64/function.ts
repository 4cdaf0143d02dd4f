// The functions of graphs as the host's binary64 has them: what an exact result is compared with, never a
// result itself. Their last bits may differ between machines; no digest sees them.

import type { BinaryOp, UnaryOp } from "gyrotron/tensor";

const GELU_SLOPE = Math.sqrt(2 / Math.PI);

/** Unary functions in binary64. */
export const FLOAT_UNARY: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  log: Math.log,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf: errorFunction,
  gelu: (x) => (x * complementaryError(-x / Math.SQRT2)) / 2,
  "gelu-tanh": (x) => (x / 2) * (1 + Math.tanh(GELU_SLOPE * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
};

/** Binary functions in binary64. */
export const FLOAT_BINARY: Readonly<Record<BinaryOp, (x: number, y: number) => number>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  min: Math.min,
  max: Math.max,
};

/** erf, to some 14 places: its series near 0, the continued fraction of erfc beyond. */
function errorFunction(x: number): number {
  if (Math.abs(x) > 2.5) return x > 0 ? 1 - complementaryError(x) : complementaryError(-x) - 1;
  let term = x;
  let sum = 0;
  for (let i = 1; i < 120; i += 2) {
    sum += term;
    term *= (2 * x * x) / (i + 2);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc, with its relative accuracy kept in the tail. */
function complementaryError(x: number): number {
  if (x <= 2.5) return 1 - errorFunction(x);
  let fraction = 0;
  for (let i = 60; i >= 1; i--) fraction = i / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}
