// What kernels are told of a norm's epsilon, as integers.

import { decodeF32, layerNormExponentFloor, normExponentFloor } from "gyrotron/numerics";

/** Words [mantissa, exponent, floor] of an RMS norm's epsilon: the floor is the lowest exponent of its rows. */
export function epsilonWords(epsilon: number): [number, number, number] {
  const { mantissa, exponent } = decodeF32(epsilon);
  return [Number(mantissa), exponent, normExponentFloor(epsilon)];
}

/** The same for a layer norm. */
export function layerNormWords(epsilon: number): [number, number, number] {
  const [mantissa, exponent] = epsilonWords(epsilon);
  return [mantissa, exponent, layerNormExponentFloor(epsilon)];
}
