// Single op calls, for conformance: operands go to pooled buffers, one command buffer runs, results come back
// and the buffers go back to the pool.

import { attentionScale } from "gyrotron/numerics";
import { checkOpCall, type OpCall, type OpResult } from "gyrotron/tensor";
import { epsilonWords } from "../epsilon-words.ts";
import { STATUS_GOOD } from "../row-status.ts";
import type { CommandRecorder, ShaderSource, WebGpuDevice } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";
import { limbsOf, ROW_PARAM_COUNT, ROW_PARAMS } from "./kernels/activation.ts";
import { attendShader } from "./kernels/attend.ts";
import {
  argmaxShader,
  elementShader,
  embedShader,
  normShader,
  quantizeShader,
} from "./kernels/element.ts";
import { blockOutputs, projectShader } from "./kernels/project.ts";
import { cacheLayerWords, rotaryShader, STEP_ROW_WORDS } from "./kernels/rotate.ts";
import { freeMatrix, packRows, placeMatrices } from "./pack.ts";
import type { WgslPiece } from "./wgsl/piece.ts";

type Call<N extends OpCall["op"]> = Extract<OpCall, { op: N }>;

/** Workgroups of an elementwise dispatch, each of which takes what is left in turns. */
const ELEMENT_WORKGROUPS_MAX = 1024;

/** Runs one op. @throws TensorError on shapes that do not fit, or `tensor/device-lost` */
export async function runSingleOp(
  device: WebGpuDevice,
  dot: WgslPiece,
  call: OpCall,
): Promise<OpResult> {
  const rows = checkOpCall(call);
  device.check();
  const run = new SingleOp(device, dot, rows);
  try {
    return await run.run(call);
  } finally {
    run.free();
  }
}

class SingleOp {
  readonly #device: WebGpuDevice;
  readonly #dot: WgslPiece;
  readonly #rows: number;
  readonly #taken: { buffer: GpuBuffer; kind: "storage" | "uniform" }[] = [];
  readonly #recorder: CommandRecorder;
  readonly #status: GpuBuffer;

  constructor(device: WebGpuDevice, dot: WgslPiece, rows: number) {
    this.#device = device;
    this.#dot = dot;
    this.#rows = rows;
    this.#recorder = device.record();
    this.#status = this.#in(new Int32Array(rows).fill(STATUS_GOOD));
  }

  /** Gives the buffers back. */
  free(): void {
    for (const { buffer, kind } of this.#taken) this.#device.give(buffer, kind);
  }

  async run(call: OpCall): Promise<OpResult> {
    switch (call.op) {
      case "quantize":
        return this.#quantize(call);
      case "matmul":
        return this.#matmul(call);
      case "add":
      case "multiply":
        return this.#element(call.op, call.left, call.right, call.columns);
      case "silu":
        return this.#element("silu", call.x, call.x, call.columns);
      case "embed": {
        const { columns, tokens } = call;
        const words = this.#rows * columns;
        const result = this.#out(words);
        const entries = call.table.length / columns;
        const params = [columns, 0, entries, 1, this.#rows];
        await this.#rowwise(embedShader(), params, [
          this.#in(call.table),
          this.#in(tokens),
          result,
        ]);
        return this.#f32(result, words);
      }
      case "argmax": {
        const result = this.#out(this.#rows);
        const params = [call.columns, 0, 0, 0, this.#rows];
        await this.#rowwise(argmaxShader(), params, [this.#in(call.x), result]);
        return { kind: "i32", values: new Int32Array(await this.#read(result, this.#rows)) };
      }
      case "rms-norm": {
        const result = this.#out(call.x.length);
        const params = [call.columns, ...epsilonWords(call.epsilon), this.#rows];
        await this.#rowwise(normShader(), params, [this.#in(call.x), result, this.#status]);
        return this.#f32(result, call.x.length);
      }
      case "rotary":
        return this.#rotary(call);
      case "attention":
        return this.#attention(call);
    }
  }

  async #quantize({ x, columns, bits }: Call<"quantize">): Promise<OpResult> {
    const mantissas = this.#out(x.length);
    const exponents = this.#out(this.#rows);
    const params = [columns, bits, 0, 0, this.#rows];
    await this.#rowwise(quantizeShader(), params, [this.#in(x), mantissas, exponents]);
    this.#recorder.read({ buffer: mantissas, offset: 0, bytes: x.length * 4 });
    const words = new Int32Array(await this.#read(exponents, this.#rows));
    const rows = {
      columns,
      mantissas: words.slice(0, x.length),
      exponents: words.slice(x.length),
    };
    return { kind: "bfp", rows };
  }

  async #matmul({ left, leftBits, weights }: Call<"matmul">): Promise<OpResult> {
    if (this.#rows === 0 || weights.outputs === 0) {
      return { kind: "f32", values: new Float32Array(0) };
    }
    const limbs = limbsOf(leftBits);
    const matrix = placeMatrices(this.#device, [weights]);
    try {
      const shape = { source: "packed", epilogue: "store", rows: 2, dot: this.#dot } as const;
      const each = blockOutputs(shape.rows, matrix.vectors, matrix.limbs);
      const source = projectShader({
        ...shape,
        activationLimbs: limbs,
        weightLimbs: matrix.limbs,
        outputs: each,
      });
      const rowMap = Uint32Array.of(this.#rows, ...new Uint32Array(this.#rows).keys());
      const packed = this.#in(packRows(left, limbs));
      const [map, exponents] = [this.#in(rowMap), this.#in(left.exponents)];
      const result = this.#out(this.#rows * weights.outputs);
      const none = 2 ** 31;
      for (const { first, outputs, weights: bytes, columns } of matrix.shards) {
        const own = [matrix.vectors, outputs, first, none, none, 0, weights.outputs];
        const params = this.#params([
          ...own,
          ...Array.from({ length: ROW_PARAMS + ROW_PARAM_COUNT - 7 }, () => 0),
        ]);
        await this.#dispatch(
          source,
          [params, map, packed, exponents, bytes, columns, result, this.#status],
          [Math.min(Math.ceil(outputs / each), 65535), Math.ceil(this.#rows / shape.rows)],
        );
      }
      return await this.#f32(result, this.#rows * weights.outputs);
    } finally {
      freeMatrix(matrix);
    }
  }

  async #element(
    op: "add" | "multiply" | "silu",
    left: Float32Array,
    right: Float32Array,
    columns: number,
  ): Promise<OpResult> {
    const count = left.length;
    const result = this.#out(count);
    const params = this.#params([count, columns]);
    const buffers = [params, this.#in(left), this.#in(right), result, this.#status];
    const groups = Math.min(Math.ceil(count / 128), ELEMENT_WORKGROUPS_MAX);
    await this.#dispatch(elementShader(op), buffers, [groups, 1]);
    return this.#f32(result, count);
  }

  async #rotary(call: Call<"rotary">): Promise<OpResult> {
    const { x, heads, headSize, positions, steps, interleaved } = call;
    const result = this.#out(x.length);
    const params = this.#params([heads, headSize, interleaved ? 1 : 0]);
    const operands = [this.#in(x), this.#in(positions), this.#in(steps)];
    const buffers = [params, ...operands, result, this.#status];
    await this.#dispatch(rotaryShader(), buffers, [heads, this.#rows]);
    return this.#f32(result, x.length);
  }

  async #attention(call: Call<"attention">): Promise<OpResult> {
    const { heads, kvHeads, headSize, queries, keys, values } = call;
    const positions = keys.exponents.length / kvHeads;
    const half = kvHeads * positions;
    const cache = new Int32Array(cacheLayerWords(kvHeads, positions, headSize));
    for (const [second, rows] of [keys, values].entries()) {
      const pairs = pairsOf(rows.mantissas);
      for (let unit = 0; unit < half; unit++) {
        const slot = second * half + (unit % kvHeads) * positions + Math.floor(unit / kvHeads);
        const own = pairs.subarray((unit * headSize) / 2, ((unit + 1) * headSize) / 2);
        cache.set(own, (slot * headSize) / 2);
        cache[half * headSize + slot] = rows.exponents[unit]!;
      }
    }
    const row = new Uint32Array(STEP_ROW_WORDS);
    row.set([0, positions - 1, 0, positions]);
    const scale = attentionScale(headSize);
    const result = this.#out(heads * headSize);
    const shape = [heads, kvHeads, headSize, 0];
    const params = this.#params([...shape, scale.mantissa, scale.exponent, 0, heads * headSize]);
    const q = [this.#in(pairsOf(queries.mantissas)), this.#in(queries.exponents)];
    const buffers = [params, this.#in(row), ...q, this.#in(cache), result, this.#status];
    await this.#dispatch(attendShader(), buffers, [heads, 1]);
    return this.#f32(result, heads * headSize);
  }

  #in(data: Float32Array | Int32Array | Uint32Array | Int8Array): GpuBuffer {
    const buffer = this.#out(data.byteLength / 4);
    this.#device.write(buffer, 0, data);
    return buffer;
  }

  #out(words: number): GpuBuffer {
    const buffer = this.#device.take(words * 4, "storage");
    this.#taken.push({ buffer, kind: "storage" });
    return buffer;
  }

  #params(words: readonly number[]): GpuBuffer {
    const buffer = this.#device.take(words.length * 4, "uniform");
    this.#taken.push({ buffer, kind: "uniform" });
    this.#device.write(buffer, 0, Int32Array.from(words));
    return buffer;
  }

  /** A workgroup for each row. */
  async #rowwise(
    source: ShaderSource,
    params: readonly number[],
    buffers: readonly GpuBuffer[],
  ): Promise<void> {
    const x = Math.min(this.#rows, this.#device.limits.maxComputeWorkgroupsPerDimension);
    const y = x === 0 ? 0 : Math.ceil(this.#rows / x);
    await this.#dispatch(source, [this.#params(params), ...buffers], [x, y]);
  }

  async #dispatch(
    source: ShaderSource,
    buffers: readonly GpuBuffer[],
    [x, y]: readonly [number, number],
  ): Promise<void> {
    const pipeline = await this.#device.pipeline(source);
    this.#recorder.dispatch(this.#device.bind(pipeline, buffers), x, y);
  }

  async #read(buffer: GpuBuffer, words: number): Promise<Uint32Array<ArrayBuffer>> {
    this.#recorder.read({ buffer, offset: 0, bytes: words * 4 });
    return this.#device.submit(this.#recorder);
  }

  async #f32(buffer: GpuBuffer, words: number): Promise<OpResult> {
    this.#recorder.read({ buffer: this.#status, offset: 0, bytes: this.#rows * 4 });
    const read = await this.#read(buffer, words);
    const row = read.subarray(0, this.#rows).findIndex((status) => status !== STATUS_GOOD);
    if (row >= 0) return { kind: "non-finite", row };
    const values = read.slice(this.#rows);
    return { kind: "f32", values: new Float32Array(values.buffer) };
  }
}

/** Neighbouring mantissas as halves of a word. */
function pairsOf(mantissas: Int32Array): Int32Array {
  return new Int32Array(Int16Array.from(mantissas).buffer);
}
