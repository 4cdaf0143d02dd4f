// Single op calls on the kernels, for conformance: operands are copied in, one short program runs, results
// are copied out and the memory is released.

import { present } from "gyrotron/base";
import { attentionScale } from "gyrotron/numerics";
import { type BfpRows, checkOpCall, type OpCall, type OpResult } from "gyrotron/tensor";
import { epsilonWords } from "../epsilon-words.ts";
import { STATUS_GOOD } from "../row-status.ts";
import type { WasmDevice } from "./device.ts";
import {
  attentionScratchBytes,
  CACHE_HEADER_BYTES,
  cacheBytes,
  type KernelCall,
  roundUp,
} from "./layout.ts";
import { matmulWords, placeMatrices, productScratchBytes } from "./pack.ts";

type Call<N extends OpCall["op"]> = Extract<OpCall, { op: N }>;

/** Runs one op. @throws TensorError on shapes that do not fit */
export function runSingleOp(device: WasmDevice, call: OpCall): OpResult {
  const rows = checkOpCall(call);
  // Scratch stays, and so must not be what is released.
  if (call.op === "matmul") device.reserveScratch(productScratchBytes(call.weights.inputs));
  if (call.op === "attention")
    device.reserveScratch(attentionScratchBytes(call.keys.exponents.length / call.kvHeads));
  const mark = device.mark;
  try {
    return new SingleOp(device, rows).run(call);
  } finally {
    device.release(mark);
  }
}

class SingleOp {
  readonly #device: WasmDevice;
  readonly #count: number;
  readonly #rows: number;
  readonly #status: number;

  constructor(device: WasmDevice, rows: number) {
    this.#device = device;
    this.#count = rows;
    this.#rows = device.control("rows");
    this.#status = device.allocate(rows * 4);
    device.resetStatus(this.#status, rows);
  }

  run(call: OpCall): OpResult {
    switch (call.op) {
      case "quantize":
        return this.#quantize(call);
      case "matmul":
        return this.#matmul(call);
      case "add": {
        const { columns: n } = call;
        const out = this.#output(n);
        this.#start("add", [...[this.#in(call.left), n, this.#in(call.right), n, n, out], 0]);
        return this.#f32(out, n, n);
      }
      case "multiply": {
        const out = this.#output(call.columns);
        this.#start("multiply", [this.#in(call.left), this.#in(call.right), call.columns, out]);
        return this.#f32(out, call.columns, call.columns);
      }
      case "embed": {
        const out = this.#output(call.columns);
        this.#start("embed", [
          this.#in(call.table),
          call.columns,
          this.#device.place(call.tokens),
          out,
        ]);
        return this.#f32(out, call.columns, call.columns);
      }
      case "argmax": {
        const out = this.#output(1);
        this.#start("argmax", [this.#in(call.x), call.columns, out]);
        return { kind: "i32", values: this.#device.readI32(out, this.#count) };
      }
      case "rms-norm": {
        const out = this.#output(call.columns);
        const epsilon = epsilonWords(call.epsilon);
        this.#start("norm", [this.#in(call.x), call.columns, out, ...epsilon]);
        return this.#f32(out, call.columns, call.columns);
      }
      case "rotary":
        return this.#rotary(call);
      case "attention":
        return this.#attention(call);
      case "silu": {
        const out = this.#output(call.columns);
        this.#start("silu", [this.#in(call.x), call.columns, out]);
        return this.#f32(out, call.columns, call.columns);
      }
    }
  }

  #quantize({ x, columns, bits }: Call<"quantize">): OpResult {
    const padded = roundUp(columns, 8);
    const out = this.#device.allocate(this.#count * padded * 2);
    const exponents = this.#output(1);
    this.#start("quantize", [this.#in(x), columns, padded, out, exponents, bits]);
    const mantissas = new Int32Array(this.#count * columns);
    const read = this.#device.readI16(out, this.#count * padded);
    for (let r = 0; r < this.#count; r++) {
      mantissas.set(read.subarray(r * padded, r * padded + columns), r * columns);
    }
    const rows = { columns, mantissas, exponents: this.#device.readI32(exponents, this.#count) };
    return { kind: "bfp", rows };
  }

  #matmul({ left, leftBits, weights }: Call<"matmul">): OpResult {
    const matrix = placeMatrices(this.#device, [weights]);
    const a = this.#device.place(padRows(left, matrix.blocks * 8));
    const exponents = this.#device.place(left.exponents);
    const out = this.#output(matrix.groups * 4);
    this.#start("matmul", matmulWords({ left: a, exponents, leftBits, matrix, out, op: 0 }));
    return this.#f32(out, weights.outputs, matrix.groups * 4);
  }

  #rotary({ x, heads, headSize, positions, steps, interleaved }: Call<"rotary">): OpResult {
    const padded = roundUp(headSize, 8);
    const angles = this.#output(headSize);
    const out = this.#output(heads * headSize);
    const at = this.#device.place(positions);
    const turn = this.#call("angles", [this.#device.place(steps), headSize / 2, at, angles]);
    const words = [this.#in(x), heads, headSize, padded, angles, interleaved ? 1 : 0, out];
    this.#execute([turn, this.#call("rotary", words)]);
    return this.#f32(out, heads * headSize, heads * headSize);
  }

  #attention(call: Call<"attention">): OpResult {
    const { heads, kvHeads, headSize, queries, keys, values } = call;
    const device = this.#device;
    const padded = roundUp(headSize, 8);
    const positions = keys.exponents.length / kvHeads;
    const capacity = roundUp(positions, 2);
    const cache = device.allocate(cacheBytes({ layers: 1, kvHeads, padded, capacity }));
    device.setWord(cache, capacity);
    const half = kvHeads * capacity * padded;
    const layer = cache + CACHE_HEADER_BYTES;
    for (let t = 0; t < positions; t++) {
      for (let g = 0; g < kvHeads; g++) {
        const unit = t * kvHeads + g;
        const slot = g * capacity + t;
        const key = new Int16Array(padded);
        key.set(keys.mantissas.subarray(unit * headSize, (unit + 1) * headSize));
        device.write(layer + slot * padded * 2, key);
        for (let i = 0; i < headSize; i++) {
          const place = half + g * capacity * padded + ((t >> 1) * padded + i) * 2 + (t & 1);
          device.write(layer + place * 2, Int16Array.of(values.mantissas[unit * headSize + i]!));
        }
        const exponents = layer + half * 4 + slot * 4;
        device.setWord(exponents, keys.exponents[unit]!);
        device.setWord(exponents + kvHeads * capacity * 4, values.exponents[unit]!);
      }
    }
    device.setWord(device.control("positions"), device.place(Uint32Array.of(positions - 1)));
    device.setWord(device.control("caches"), device.place(Uint32Array.of(cache)));
    const out = this.#output(heads * headSize);
    const q = device.place(padRows(queries, padded));
    const scale = attentionScale(headSize);
    this.#start("attend", [
      ...[q, device.place(queries.exponents), heads, kvHeads, headSize, padded],
      ...[scale.mantissa, scale.exponent, out, 0],
    ]);
    return this.#f32(out, heads * headSize, heads * headSize);
  }

  #in(x: Float32Array): number {
    return this.#device.place(x);
  }

  /** Room for `columns` words a row. */
  #output(columns: number): number {
    return this.#device.allocate(this.#count * columns * 4);
  }

  #call(op: KernelCall["op"], words: readonly number[]): KernelCall {
    return { op, rows: this.#rows, status: this.#status, words };
  }

  #start(op: KernelCall["op"], words: readonly number[]): void {
    this.#execute([this.#call(op, words)]);
  }

  #execute(calls: readonly KernelCall[]): void {
    this.#device.setWord(this.#rows, this.#count);
    this.#device.run(this.#device.placeProgram(calls), calls.length);
  }

  #f32(address: number, columns: number, stride: number): OpResult {
    const status = this.#device.readI32(this.#status, this.#count);
    const row = status.findIndex((s) => s !== STATUS_GOOD);
    if (row >= 0) return { kind: "non-finite", row };
    const read = this.#device.readF32(address, this.#count * stride);
    if (stride === columns) return { kind: "f32", values: read };
    const values = new Float32Array(this.#count * columns);
    for (let r = 0; r < this.#count; r++) {
      values.set(read.subarray(r * stride, r * stride + columns), r * columns);
    }
    return { kind: "f32", values };
  }
}

function padRows(rows: BfpRows, padded: number): Int16Array {
  const count = rows.exponents.length;
  const result = new Int16Array(count * padded);
  for (let r = 0; r < count; r++) {
    for (let i = 0; i < rows.columns; i++) {
      result[r * padded + i] = present(rows.mantissas[r * rows.columns + i]);
    }
  }
  return result;
}
