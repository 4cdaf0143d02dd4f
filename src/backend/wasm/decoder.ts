// The fused decoder on the kernels: weights, buffers and caches in one device memory and one program that
// runs all layers for a chunk of rows. Same bits as the unfused ops, since every op is computed whole.

import { assert, present } from "gyrotron/base";
import { attentionScale, tailTanhTable } from "gyrotron/numerics";
import {
  ATTENTION_BITS,
  type Decoder,
  type DecoderFrame,
  type DecoderLayer,
  type DecoderRow,
  type DecoderWeights,
  finalOpIndex,
  frameOf,
  type LayerOp,
  layerOpIndex,
  POSITION_OP_INDEX,
  type SequenceCache,
  type StepResult,
} from "gyrotron/tensor";
import { cacheMemoryError } from "../cache-places.ts";
import { CachePool } from "../cache-pool.ts";
import { beginStep, endStep } from "../decoder-step.ts";
import { epsilonWords, layerNormWords } from "../epsilon-words.ts";
import { joinBiases } from "../layer-bias.ts";
import type { WasmDevice } from "./device.ts";
import {
  attentionScratchBytes,
  CACHE_HEADER_BYTES,
  cacheBytes,
  type KernelCall,
  roundUp,
} from "./layout.ts";
import { type DeviceMatrix, matmulWords, placeMatrices, PRODUCT_SCRATCH_BYTES } from "./pack.ts";

/** Rows of a step. Native kernels take so little time for each that more of them have to share what weights cost. */
const ROWS_MAX = { wasm: 64, native: 256 } as const;

/** Buffers of a step, each for the most rows that it may have. */
interface Buffers {
  readonly x: number;
  readonly normed: number;
  readonly mantissas: number;
  readonly exponents: number;
  readonly projected: number;
  readonly angles: number;
  readonly query: number;
  readonly queryExponents: number;
  readonly product: number;
  readonly logits: number;
  readonly status: number;
  readonly logitStatus: number;
  readonly positions: number;
  readonly caches: number;
  readonly chosen: number;
}

/** A model on one device. */
export class WasmDecoder implements Decoder {
  readonly rowsMax: number;
  readonly #device: WasmDevice;
  readonly #frame: DecoderFrame;
  readonly #buffers: Buffers;
  readonly #program: number;
  readonly #bodyLength: number;
  readonly #headLength: number;
  readonly #caches: CachePool;
  /** Where caches begin. */
  readonly #ground: number;

  constructor(device: WasmDevice, weights: DecoderWeights) {
    this.#device = device;
    this.rowsMax = ROWS_MAX[device.isNative ? "native" : "wasm"];
    this.#frame = frameOf(weights);
    const { layers, kvHeads, headSize, context } = weights.shape;
    const padded = roundUp(headSize, 8);
    this.#caches = new CachePool({
      ...{ layers, kvHeads, unitBytes: padded * 2, context },
      place: (slots) => {
        const bytes = cacheBytes({ layers, kvHeads, padded, capacity: slots });
        const left = device.bytesLeft;
        if (bytes > left) throw cacheMemoryError("wasm", { positions: slots, bytes, left });
        const address = device.allocateUnset(bytes);
        device.setWord(address, slots);
        return address;
      },
      clear: () => device.release(this.#ground),
      copy: (source, target, ranges) => {
        const [from, to] = [source + CACHE_HEADER_BYTES, target + CACHE_HEADER_BYTES];
        for (const range of ranges) device.copy(from + range.from, to + range.to, range.bytes);
      },
    });
    this.#buffers = allocateBuffers(device, weights, this.rowsMax);
    device.reserveScratch(
      Math.max(PRODUCT_SCRATCH_BYTES, padded * 8, attentionScratchBytes(context)),
    );
    const compiler = new ProgramCompiler(device, weights, this.#buffers);
    const body = compiler.body();
    const head = compiler.head();
    this.#bodyLength = body.length;
    this.#headLength = head.length;
    this.#program = device.placeProgram([...body, ...head]);
    device.setWord(device.control("positions"), this.#buffers.positions);
    device.setWord(device.control("caches"), this.#buffers.caches);
    this.#ground = device.mark;
  }

  createCache(capacity: number): SequenceCache {
    return this.#caches.create(capacity);
  }

  async step(rows: readonly DecoderRow[]): Promise<StepResult> {
    const device = this.#device;
    const b = this.#buffers;
    const { layers, vocabulary } = this.#frame.shape;
    const caches = this.#caches.admit(rows, { rowsMax: this.rowsMax, vocabulary });
    const step = beginStep(this.#frame, rows, caches);
    const { positions, chosen, x, misplaced } = step;
    const addresses = caches.map((cache) => cache.address);
    device.write(b.caches, Uint32Array.from(addresses));
    device.write(b.x, x);
    device.write(b.positions, Uint32Array.from(positions));
    device.write(b.chosen, Uint32Array.from(chosen));
    device.resetStatus(b.status, rows.length);
    device.resetStatus(b.logitStatus, rows.length);
    for (const row of misplaced) device.setWord(b.status + row * 4, POSITION_OP_INDEX);
    device.setWord(device.control("rows"), rows.length);
    device.setWord(device.control("logitRows"), chosen.length);
    device.run(this.#program, this.#bodyLength + (chosen.length > 0 ? this.#headLength : 0));
    const statuses = device.readI32(b.status, rows.length);
    const last = device.readI32(b.logitStatus, chosen.length);
    chosen.forEach((row, i) => (statuses[row] = Math.min(statuses[row]!, last[i]!)));
    const stride = roundUp(vocabulary, 4) * 4;
    return endStep(step, layers, statuses, (i) =>
      device.readF32(b.logits + i * stride, vocabulary),
    );
  }

  async close(): Promise<void> {
    await this.#device.close();
  }
}

function allocateBuffers(device: WasmDevice, weights: DecoderWeights, rows: number): Buffers {
  const { width, hidden, heads, kvHeads, headSize, vocabulary } = weights.shape;
  const words = (columns: number): number => device.allocateUnset(rows * columns * 4);
  const attention = heads * headSize;
  const widest = Math.max(width, hidden, attention);
  const padded = roundUp(headSize, 8);
  return {
    x: words(width),
    normed: words(Math.max(width, attention)),
    mantissas: device.allocateUnset(rows * roundUp(widest, 8) * 2),
    exponents: words(1),
    projected: words(roundUp(Math.max(attention + 2 * kvHeads * headSize, 2 * hidden, width), 4)),
    angles: words(headSize),
    query: device.allocateUnset(rows * heads * padded * 2),
    queryExponents: words(heads),
    product: words(hidden),
    logits: words(roundUp(vocabulary, 4)),
    status: words(1),
    logitStatus: words(1),
    positions: words(1),
    caches: words(1),
    chosen: words(1),
  };
}

/** A vector that a layer may lack. */
type Vector = Float32Array | undefined;

/** Turns a decoder into kernel calls, placing weights as it goes. */
class ProgramCompiler {
  readonly #device: WasmDevice;
  readonly #weights: DecoderWeights;
  readonly #buffers: Buffers;
  readonly #epsilon: readonly number[];
  /** Address of the table of GELU, once a layer has needed it. */
  #geluTable: number | undefined;

  constructor(device: WasmDevice, weights: DecoderWeights, buffers: Buffers) {
    this.#device = device;
    this.#weights = weights;
    this.#buffers = buffers;
    this.#epsilon = epsilonWords(weights.epsilon);
  }

  /** Everything from the embedded tokens to the last layer's output. */
  body(): KernelCall[] {
    const { layers, rotarySteps } = this.#weights;
    const b = this.#buffers;
    const steps = this.#device.place(rotarySteps);
    const angles = this.#call("angles", [steps, rotarySteps.length, b.positions, b.angles], true);
    return [
      ...(rotarySteps.length > 0 ? [angles] : []),
      ...layers.flatMap((layer, i) => [
        ...this.#attention(layer, i),
        ...this.#feedForward(layer, i),
      ]),
    ];
  }

  /** Norm and classifier on the rows that want logits. */
  head(): KernelCall[] {
    const { finalGain, finalNormBias, classifier, layers, shape } = this.#weights;
    const b = this.#buffers;
    const norm = { gain: finalGain, bias: finalNormBias };
    const at = finalOpIndex(layers.length, "final-gain");
    const logits = finalOpIndex(layers.length, "logits");
    const matrix = placeMatrices(this.#device, [classifier]);
    const onChosen = { rows: this.#device.control("logitRows"), status: b.logitStatus };
    const gather = [b.x, shape.width, b.chosen, b.projected];
    return [
      // The wait before this call is that of the last residual, which is not free.
      { op: "gather", ...onChosen, words: gather, free: true },
      { ...this.#norm(b.projected, norm, at), ...onChosen },
      { op: "matmul", ...onChosen, words: this.#matmulWords(matrix, b.logits, logits) },
    ];
  }

  #attention(layer: DecoderLayer, index: number): KernelCall[] {
    const { shape, design, rotaryInterleaved } = this.#weights;
    const { heads, kvHeads, headSize, width } = shape;
    const b = this.#buffers;
    const padded = roundUp(headSize, 8);
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const qkv = placeMatrices(this.#device, [layer.query, layer.key, layer.value]);
    const output = placeMatrices(this.#device, [layer.attentionOutput]);
    const scale = attentionScale(headSize);
    const attended = heads * headSize;
    const keys = kvHeads * headSize;
    const [second, third] = [attended, attended + keys];
    const project = this.#matmulWords(qkv, b.projected, at("query"), { second, third });
    const size = [heads, kvHeads, headSize, padded];
    const columns = qkv.groups * 4;
    const qkvBias = joinBiases(layer, shape, ["queryBias", "keyBias", "valueBias"]);
    const keysAt = b.projected + attended * 4;
    const norm = { gain: layer.attentionGain, bias: layer.attentionNormBias };
    const turning = design.positions === "rotary" ? (rotaryInterleaved ? 1 : 0) : 2;
    return [
      this.#norm(b.x, norm, at("attention-gain")),
      this.#call("matmul", project),
      ...this.#bias(qkvBias, columns, at("query-bias"), second, third),
      ...this.#headNorm(layer.queryGain, b.projected, columns, heads, at("query-gain")),
      ...this.#headNorm(layer.keyGain, keysAt, columns, kvHeads, at("key-gain")),
      this.#call("rotate", [
        ...[b.projected, columns, ...size, b.angles, turning],
        ...[b.query, b.queryExponents, index, 0, at("rotary-query")],
      ]),
      this.#call("attend", [
        ...[b.query, b.queryExponents, ...size, scale.mantissa, scale.exponent, b.normed, index],
      ]),
      this.#quantize(b.normed, attended),
      this.#call("matmul", this.#matmulWords(output, b.projected, at("attention-output"))),
      ...this.#bias(layer.attentionOutputBias, roundUp(width, 4), at("attention-output-bias")),
      this.#residual(roundUp(width, 4), at("attention-residual"), true),
    ];
  }

  #feedForward(layer: DecoderLayer, index: number): KernelCall[] {
    const { shape, layers, design, downBits } = this.#weights;
    const { hidden, width } = shape;
    const b = this.#buffers;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const norm = { gain: layer.feedForwardGain, bias: layer.feedForwardNormBias };
    const inner =
      design.feedForward === "swiglu" ? this.#gated(layer, at) : this.#ungated(layer, at);
    const down = placeMatrices(this.#device, [layer.down]);
    return [
      this.#norm(b.x, norm, at("feed-forward-gain")),
      ...inner,
      this.#quantize(b.product, hidden, downBits),
      this.#call(
        "matmul",
        this.#matmulWords(down, b.projected, at("down"), { leftBits: downBits }),
      ),
      ...this.#bias(layer.downBias, roundUp(width, 4), at("down-bias")),
      this.#residual(roundUp(width, 4), at("feed-forward-residual"), index + 1 < layers.length),
    ];
  }

  #gated(layer: DecoderLayer, at: (op: LayerOp) => number): KernelCall[] {
    const { shape } = this.#weights;
    const { hidden } = shape;
    const b = this.#buffers;
    const gateUp = placeMatrices(this.#device, [present(layer.gate), layer.up]);
    const columns = gateUp.groups * 4;
    const bias = joinBiases(layer, shape, ["gateBias", "upBias"]);
    return [
      this.#call("matmul", this.#matmulWords(gateUp, b.projected, at("gate"), { second: hidden })),
      ...this.#bias(bias, columns, at("gate-bias"), hidden),
      this.#call("gate", [b.projected, columns, hidden, hidden, b.product, at("product")]),
    ];
  }

  #ungated(layer: DecoderLayer, at: (op: LayerOp) => number): KernelCall[] {
    const { hidden } = this.#weights.shape;
    const b = this.#buffers;
    const up = placeMatrices(this.#device, [layer.up]);
    const columns = up.groups * 4;
    this.#geluTable ??= this.#device.place(tailTanhTable());
    return [
      this.#call("matmul", this.#matmulWords(up, b.projected, at("up"))),
      ...this.#bias(layer.upBias, columns, at("up-bias")),
      this.#call("gelu", [b.projected, columns, hidden, b.product, this.#geluTable, at("gelu")]),
    ];
  }

  /** Adds a bias to the columns of `projected` that it has values for. */
  #bias(bias: Vector, columns: number, op: number, second?: number, third?: number): KernelCall[] {
    if (bias === undefined) return [];
    const vector = this.#device.place(bias);
    const bounds = [second ?? 0x7fffffff, third ?? 0x7fffffff];
    const words = [this.#buffers.projected, columns, vector, bias.length, op, ...bounds];
    return [this.#call("bias", words)];
  }

  #headNorm(gain: Vector, x: number, columns: number, heads: number, op: number): KernelCall[] {
    if (gain === undefined) return [];
    const { headSize } = this.#weights.shape;
    const vector = this.#device.place(gain);
    return [this.#call("headNorm", [x, columns, heads, headSize, ...this.#epsilon, vector, op])];
  }

  /** The design's norm of rows of the width, with gain and bias, on the grid of the next product. */
  #norm(x: number, { gain, bias }: { gain: Float32Array; bias: Vector }, op: number): KernelCall {
    const b = this.#buffers;
    const n = gain.length;
    const placed = this.#device.place(gain);
    const bits = this.#weights.activationBits;
    const out = [b.mantissas, b.exponents, bits, op];
    if (this.#weights.design.norm === "rms") {
      const words = [x, placed, n, roundUp(n, 8), ...this.#epsilon, b.normed, ...out];
      return this.#call("normQuantize", words);
    }
    const vector = this.#device.place(present(bias));
    const epsilon = layerNormWords(this.#weights.epsilon);
    const words = [x, n, b.normed, ...epsilon, roundUp(n, 8), placed, vector, ...out];
    return this.#call("layerNormQuantize", words);
  }

  #quantize(x: number, n: number, bits: number = this.#weights.activationBits): KernelCall {
    const b = this.#buffers;
    assert(bits >= 8 && ATTENTION_BITS === 13, "the kernels' widths");
    return this.#call("quantize", [x, n, roundUp(n, 8), b.mantissas, b.exponents, bits]);
  }

  #matmulWords(
    matrix: DeviceMatrix,
    out: number,
    op: number,
    options: { leftBits?: number; second?: number; third?: number } = {},
  ): number[] {
    const { mantissas: left, exponents } = this.#buffers;
    const leftBits = this.#weights.activationBits;
    return matmulWords({ left, exponents, leftBits, matrix, out, op, ...options });
  }

  #residual(stride: number, op: number, free: boolean): KernelCall {
    const { x, projected } = this.#buffers;
    const { width } = this.#weights.shape;
    return this.#call("add", [x, width, projected, stride, width, x, op], free);
  }

  #call(op: KernelCall["op"], words: readonly number[], free = false): KernelCall {
    const rows = this.#device.control("rows");
    return { op, rows, status: this.#buffers.status, words, free };
  }
}
