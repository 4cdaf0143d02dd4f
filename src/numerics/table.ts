// The integers that real constants enter the arithmetic by: the tables of exp2 and sine, rotary
// steps and attention scales (docs/spec/01-numerics.md sections 5, 7, 8, 9, 12).

import { assert } from "gyrotron/base";
import {
  divideFixed,
  expFixed,
  fixedFromRatio,
  inverseSqrtFixed,
  LN2,
  LOG2E,
  multiplyFixed,
  naturalLogOfF64,
  PI,
  roundFixed,
  sinFixed,
  type Fixed,
} from "./constant.ts";
import { bitLength, decodeF64 } from "./round.ts";

/** A real constant as `mantissa * 2^exponent` with a mantissa of a fixed number of bits. */
export interface ScaledInteger {
  readonly mantissa: number;
  readonly exponent: number;
}

/** `RNE(2^15 * 2^(i/64))` for i in 0..63. */
export const EXP2_TABLE: Uint16Array = Uint16Array.from({ length: 64 }, (_, i) =>
  Number(roundFixed(expFixed(multiplyFixed(LN2, fixedFromRatio(BigInt(i), 64n))), 15)),
);

/** `RNE(2^16 * sin(pi * i / 512))` for i in 0..256. */
export const SINE_TABLE: Int32Array = Int32Array.from({ length: 257 }, (_, i) =>
  i === 256 ? 65536 : Number(roundFixed(sinFixed((PI * BigInt(i)) / 512n), 16)),
);

/** `RNE(2^22 * log2 e)`, the factor of the SiLU program. */
export const SILU_LOG2E: number = Number(roundFixed(LOG2E, 22));

/** How frequencies are changed for contexts longer than those of the training. Numbers are taken exactly. */
export type RotaryScaling =
  /** All frequencies divided by the factor. */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3: slow pairs divided by the factor, fast ones kept, those between by a straight line. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContext: number;
    }
  /** A divisor for each pair. */
  | { readonly kind: "divisors"; readonly divisors: Float32Array };

/**
 * Phase per position of each of the `headSize / 2` pairs, in 2^-32 turns; section 7. Limits: even size to 1024,
 * positive finite parameters, `lowFrequencyFactor < highFrequencyFactor`.
 */
export function rotarySteps(theta: number, headSize: number, scaling?: RotaryScaling): Uint32Array {
  assert(headSize % 2 === 0 && headSize >= 2 && headSize <= 1024, "head size out of range");
  const log = naturalLogOfF64(theta);
  return Uint32Array.from({ length: headSize / 2 }, (_, i) => {
    const power = expFixed(-(log * BigInt(2 * i)) / BigInt(headSize));
    const turns = scaledTurns(divideFixed(power, 2n * PI), i, scaling);
    return Number(BigInt.asUintN(32, roundFixed(turns, 32)));
  });
}

/** Turns per position of pair i under a scaling. */
function scaledTurns(turns: Fixed, pair: number, scaling: RotaryScaling | undefined): Fixed {
  if (scaling === undefined) return turns;
  if (scaling.kind === "linear") return divideFixed(turns, fixedFromF64(scaling.factor));
  if (scaling.kind === "divisors") {
    const divisor = scaling.divisors[pair];
    assert(divisor !== undefined, "one divisor for each pair");
    return divideFixed(turns, fixedFromF64(divisor));
  }
  const low = fixedFromF64(scaling.lowFrequencyFactor);
  const high = fixedFromF64(scaling.highFrequencyFactor);
  assert(low < high, "frequency factors out of order");
  const slow = divideFixed(turns, fixedFromF64(scaling.factor));
  // Turns in the whole original context.
  const whole = turns * BigInt(scaling.originalContext);
  if (whole <= low) return slow;
  if (whole >= high) return turns;
  return slow + multiplyFixed(turns - slow, divideFixed(whole - low, high - low));
}

/** A positive binary64 number of 2^-64 to 2^64. */
function fixedFromF64(value: number): Fixed {
  assert(value >= 2 ** -64 && value <= 2 ** 64, "scaling out of range");
  const { mantissa, exponent } = decodeF64(value);
  return exponent >= 0
    ? fixedFromRatio(mantissa << BigInt(exponent), 1n)
    : fixedFromRatio(mantissa, 1n << BigInt(-exponent));
}

/** `2^16 * log2(e) / sqrt(headSize)` with a mantissa of 16 bits. */
export function attentionScale(headSize: number): ScaledInteger {
  return scaledInteger(multiplyFixed(LOG2E, inverseSqrtFixed(BigInt(headSize))) << 16n, 16);
}

/** `log2(e) * 65536 / temperature` with a mantissa of 24 bits; the temperature is in 1/65536. */
export function temperatureScale(temperature: number): ScaledInteger {
  assert(temperature >= 1 && temperature <= 2 ** 20, "temperature out of range");
  return scaledInteger((LOG2E << 16n) / BigInt(temperature), 24);
}

/** The nearest `mantissa * 2^exponent` with `2^(bits-1) <= mantissa < 2^bits`. */
function scaledInteger(value: Fixed, bits: number): ScaledInteger {
  const exponent = bitLength(value) - 256 - bits;
  const mantissa = Number(roundFixed(value, -exponent));
  assert(mantissa < 2 ** bits, "the mantissa rounds out of its range");
  return { mantissa, exponent };
}
