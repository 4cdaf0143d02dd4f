// Our side of a product: f32 rows go into the device's memory, are quantized and multiplied, and f32 come out.
// Uses the device beneath the backend, as a decoder does, so that weights are placed once.

import type { Precision } from "gyrotron/tensor";
import { WasmDevice } from "../../src/backend/wasm/device.ts";
import type { KernelCall } from "../../src/backend/wasm/layout.ts";
import { matmulWords, placeMatrices, PRODUCT_SCRATCH_BYTES } from "../../src/backend/wasm/pack.ts";
import type { Operands } from "./peers.ts";

/** A product whose weights are in place. */
export interface OwnProduct {
  /** Quantizes and multiplies what is in memory already. */
  readonly run: () => void;
  /** The same with activations copied in and results copied out. */
  readonly runWhole: () => Float32Array;
  readonly close: () => Promise<void>;
}

/** Deterministic operands of a shape. */
export function createOperands(rows: number, inputs: number, outputs: number): Operands {
  const mantissas = new Int8Array(inputs * outputs);
  for (let i = 0, state = 1; i < mantissas.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    mantissas[i] = ((state >>> 16) % 255) - 127;
  }
  return {
    shape: { rows, inputs, outputs },
    activations: Float32Array.from(
      { length: rows * inputs },
      (_, i) => ((i * 31) % 1001) / 500 - 1,
    ),
    mantissas,
  };
}

/** Places weights on a device of its own. With 8 bits, blocks have multipliers; with 14, the same weights fill them. */
export async function createProduct(
  { shape, activations, mantissas }: Operands,
  precision: Precision,
  threads: number,
): Promise<OwnProduct> {
  const { rows, inputs, outputs } = shape;
  const device = await WasmDevice.create({ threads });
  device.reserveScratch(PRODUCT_SCRATCH_BYTES);
  const bits = precision === "w14a14" ? 14 : 8;
  const columns = bits === 14 ? new Int16Array(inputs * outputs) : new Int8Array(inputs * outputs);
  for (let c = 0; c < outputs; c++) {
    for (let k = 0; k < inputs; k++) {
      columns[c * inputs + k] = mantissas[k * outputs + c]! * (bits === 14 ? 64 : 1);
    }
  }
  const matrix = placeMatrices(device, [
    {
      inputs,
      outputs,
      bits,
      mantissas: columns,
      scales: new Uint8Array(outputs).fill(128),
      exponents: new Int16Array(outputs).fill(-19),
      ...(bits === 8 && { blockScales: blockScales(outputs * Math.ceil(inputs / 32)) }),
    },
  ]);
  const leftBits = precision === "w8a8" ? 8 : 14;
  const x = device.place(activations);
  const left = device.allocate(rows * matrix.blocks * 16);
  const exponents = device.allocate(rows * 4);
  const status = device.allocate(rows * 4);
  const out = device.allocate(rows * matrix.groups * 16);
  const count = device.control("rows");
  device.resetStatus(status, rows);
  device.setWord(count, rows);
  const call = (op: KernelCall["op"], words: readonly number[]): KernelCall => ({
    op,
    rows: count,
    status,
    words,
  });
  const calls = [
    call("quantize", [x, inputs, matrix.blocks * 8, left, exponents, leftBits]),
    call("matmul", matmulWords({ left, exponents, leftBits, matrix, out, op: 0 })),
  ];
  const program = device.placeProgram(calls);
  const run = (): void => device.run(program, calls.length);
  return {
    run,
    runWhole() {
      device.write(x, activations);
      run();
      return device.readF32(out, rows * matrix.groups * 4);
    },
    close: () => device.close(),
  };
}

/** Multipliers from 24 to 64, as weights of models have. */
function blockScales(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => 24 + ((i * 29) % 41));
}
