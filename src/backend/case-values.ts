// Values for conformance cases: drawn by Threefry from the case's name, so the list is the same everywhere
// and adding a case changes no other.

import { utf8Bytes } from "gyrotron/base";
import { f32FromBits, threefry } from "gyrotron/numerics";
import {
  type BfpRows,
  BLOCK_SCALE_MAX,
  blocksOf,
  LEVEL_MAX,
  LEVEL_WEIGHT_MAX,
  mantissaMax,
  type PackedMatrix,
  type WeightBits,
} from "gyrotron/tensor";

/** A stream of draws named by a text. */
export class CaseValues {
  readonly #key: [number, number];
  #count = 0;

  constructor(name: string) {
    let key: [number, number] = [0, 0];
    for (const byte of utf8Bytes(name)) key = threefry(key, [byte, 0]);
    this.#key = key;
  }

  u32(): number {
    return threefry(this.#key, [this.#count++, 1])[0];
  }

  /** An integer in `low..high`. */
  integer(low: number, high: number): number {
    return low + (this.u32() % (high - low + 1));
  }

  /** Ordinary values: exponents in a range of 2^-12..2^4, either sign, sometimes 0. */
  moderate(length: number): Float32Array {
    return Float32Array.from({ length }, () => {
      if (this.integer(0, 15) === 0) return 0;
      return this.#withExponent(this.integer(115, 131));
    });
  }

  /** Biased exponents in `low..high`, either sign, sometimes 0. */
  spread(length: number, low: number, high: number): Float32Array {
    return Float32Array.from({ length }, () =>
      this.integer(0, 31) === 0 ? 0 : this.#withExponent(this.integer(low, high)),
    );
  }

  /** All finite exponents, subnormals and zeros included. */
  wild(length: number): Float32Array {
    return Float32Array.from({ length }, () => this.#withExponent(this.integer(0, 254)) + 0);
  }

  /** Small multiples of one power of two: ties of every kind. */
  ties(length: number, exponent: number): Float32Array {
    return Float32Array.from({ length }, () => this.integer(-1023, 1023) * 2 ** exponent + 0);
  }

  bfp(rows: number, columns: number, bits: number, exponents: readonly [number, number]): BfpRows {
    const max = mantissaMax(bits);
    return {
      columns,
      mantissas: Int32Array.from({ length: rows * columns }, () => this.integer(-max, max)),
      exponents: Int32Array.from({ length: rows }, () => this.integer(...exponents)),
    };
  }

  matrix(
    outputs: number,
    inputs: number,
    bits: WeightBits,
    exponents: readonly [number, number],
  ): PackedMatrix {
    const max = mantissaMax(bits);
    const draw = (): number => this.integer(-max, max);
    const length = outputs * inputs;
    const blocks = { length: outputs * blocksOf(inputs) };
    return {
      outputs,
      inputs,
      bits,
      mantissas: bits === 8 ? Int8Array.from({ length }, draw) : Int16Array.from({ length }, draw),
      ...(bits === 8 && {
        blockScales: Uint8Array.from(blocks, () => this.integer(1, BLOCK_SCALE_MAX)),
      }),
      scales: Uint8Array.from({ length: outputs }, () => this.integer(128, 255)),
      exponents: Int16Array.from({ length: outputs }, () => this.integer(...exponents)),
    };
  }

  /** A matrix of levels of 4 bits. */
  levels(outputs: number, inputs: number, exponents: readonly [number, number]): PackedMatrix {
    const blocks = { length: outputs * blocksOf(inputs) };
    const blockScales = Uint16Array.from(blocks, () => this.integer(0, 700));
    return {
      outputs,
      inputs,
      bits: 4,
      mantissas: Uint8Array.from({ length: (outputs * inputs) / 2 }, () => this.integer(0, 255)),
      blockScales,
      blockOffsets: Int16Array.from(blockScales, (m) =>
        this.integer(-LEVEL_WEIGHT_MAX, LEVEL_WEIGHT_MAX - LEVEL_MAX * m),
      ),
      scales: Uint8Array.from({ length: outputs }, () => this.integer(128, 255)),
      exponents: Int16Array.from({ length: outputs }, () => this.integer(...exponents)),
    };
  }

  #withExponent(field: number): number {
    return f32FromBits(
      ((this.integer(0, 1) << 31) | (field << 23) | (this.u32() & 0x7fffff)) >>> 0,
    );
  }
}
