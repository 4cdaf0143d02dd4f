// What a decoder dispatches: the kernels of each layer in order, with their buffers, in two forms. Fused, every
// workgroup of a product prepares its row itself: six dispatches a layer, for few rows. Otherwise rows are
// prepared once and products take several rows at a time: ten dispatches. Both give the same bits. Biases, norms
// of heads and GELU are dispatches of their own, so that models without them pay nothing.

import { present } from "gyrotron/base";
import { attentionScale } from "gyrotron/numerics";
import {
  type DecoderFrame,
  type DecoderLayer,
  type DecoderWeights,
  finalOpIndex,
  frameOf,
  type LayerOp,
  layerOpIndex,
  layerVectorsOf,
  type PackedMatrix,
  POSITION_OP_INDEX,
} from "gyrotron/tensor";
import { epsilonWords, layerNormWords } from "../epsilon-words.ts";
import { joinBiases } from "../layer-bias.ts";
import { STATUS_GOOD } from "../row-status.ts";
import type { BoundPipeline, BufferKind, CommandRecorder, WebGpuDevice } from "./device.ts";
import type { GpuPipeline } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";
import { limbsOf, prepareShader, rowParamWords, type RowParams } from "./kernels/activation.ts";
import { attendShader } from "./kernels/attend.ts";
import { FINISH_COLUMNS, type FinishKind, finishShader, headNormShader } from "./kernels/block.ts";
import { blockOutputs, type Epilogue, projectShader } from "./kernels/project.ts";
import { rotateShader, STEP_ROW_WORDS } from "./kernels/rotate.ts";
import { type DeviceMatrix, freeMatrix, placeMatrices, vectorsOf } from "./pack.ts";
import { functionTableWords } from "./wgsl/function-table.ts";
import type { WgslPiece } from "./wgsl/piece.ts";

/** Which rows a dispatch is for: all of a step, or those that want logits. */
type RowSet = "all" | "chosen";

interface Dispatch {
  readonly pipeline: GpuPipeline;
  /** Undefined stands for the arena of caches. */
  readonly buffers: readonly (GpuBuffer | undefined)[];
  readonly rowSet: RowSet;
  /** Workgroups for a number of rows. */
  readonly size: (rows: number) => readonly [number, number];
  bound?: { readonly arena: GpuBuffer; readonly group: BoundPipeline };
}

/** The dispatches of a step, and of its logits. */
interface Form {
  readonly body: readonly Dispatch[];
  readonly head: readonly Dispatch[];
}

/** A product to be planned: where rows come from, and what happens to the result. */
interface Product {
  readonly matrix: DeviceMatrix;
  readonly rows: GpuBuffer;
  readonly row: RowParams;
  /** With a gain, behind it perhaps a bias, rows go through the norm. */
  readonly gain?: GpuBuffer;
  readonly epilogue: Epilogue;
  readonly result: GpuBuffer;
  readonly stride: number;
  readonly op: number;
  readonly splits?: readonly [number, number];
  readonly rowSet?: RowSet;
}

/** What follows a product that is stored. */
interface Finish {
  readonly kind: FinishKind;
  readonly rows: GpuBuffer;
  readonly stride: number;
  /** Results of a row. */
  readonly columns: number;
  readonly bias: GpuBuffer | undefined;
  readonly biasOp: number;
  readonly splits?: readonly [number, number];
  readonly result: GpuBuffer;
  readonly op: number;
}

/** One step as numbers. */
export interface StepInput {
  /** The embedded tokens, a row for each. */
  readonly x: Float32Array;
  /** Rows whose learned position made them not finite. */
  readonly misplaced: readonly number[];
  /** `STEP_ROW_WORDS` for each row. */
  readonly rows: Uint32Array<ArrayBuffer>;
  readonly count: number;
  readonly chosen: readonly number[];
  readonly arena: GpuBuffer;
  readonly isFused: boolean;
}

/** No op counts more from here on. */
const NO_SPLIT: readonly [number, number] = [2 ** 31 - 1, 2 ** 31 - 1];
/** Workgroups of a product, which share its outputs; a CPU gains nothing from more than its cores. */
const WORKGROUPS_MAX = 256;
const SOFTWARE_WORKGROUPS_MAX = 8;

/** Kernels, buffers and weights of one decoder. */
export class DecoderPlan {
  readonly rowsMax: number;
  readonly #device: WebGpuDevice;
  readonly #dot: WgslPiece;
  readonly #frame: DecoderFrame;
  readonly #owned: GpuBuffer[] = [];
  readonly #matrices: DeviceMatrix[] = [];
  readonly #buffers: Readonly<Record<BufferName, GpuBuffer>>;
  readonly #placed: Placed;
  /** The two forms, each made when a step first needs it. */
  readonly #forms: Map<boolean, Promise<Form>> = new Map();

  /** Places weights. */
  constructor(device: WebGpuDevice, dot: WgslPiece, weights: DecoderWeights, rowsMax: number) {
    this.#device = device;
    this.#dot = dot;
    this.#frame = frameOf(weights);
    this.rowsMax = rowsMax;
    const { design, layers } = weights;
    const isPlain =
      design.feedForward === "swiglu" && layerVectorsOf(present(layers[0])).length === 0;
    this.#buffers = this.#allocate(isPlain);
    this.#placed = this.#placeAll(weights);
  }

  /** Dispatches of a step. */
  async dispatchesOf(isFused: boolean, hasLogits: boolean): Promise<number> {
    const { body, head } = await this.#form(isFused);
    return body.length + (hasLogits ? head.length : 0);
  }

  /** Runs a step; returns the statuses of its rows, then the logits of the chosen. */
  async run(step: StepInput): Promise<Uint32Array<ArrayBuffer>> {
    const form = await this.#form(step.isFused);
    const { stepRows, x, all, chosen, status, logits } = this.#buffers;
    const statuses = new Uint32Array(step.count).fill(STATUS_GOOD);
    for (const row of step.misplaced) statuses[row] = POSITION_OP_INDEX;
    const device = this.#device;
    device.write(stepRows, 0, step.rows);
    device.write(x, 0, step.x);
    device.write(all, 0, Uint32Array.of(step.count));
    device.write(chosen, 0, Uint32Array.of(step.chosen.length, ...step.chosen));
    device.write(status, 0, statuses);
    const recorder = device.record();
    for (const dispatch of form.body) this.#record(recorder, dispatch, step);
    if (step.chosen.length > 0) {
      for (const dispatch of form.head) this.#record(recorder, dispatch, step);
    }
    recorder.read({ buffer: status, offset: 0, bytes: step.count * 4 });
    const bytes = step.chosen.length * this.#frame.shape.vocabulary * 4;
    recorder.read({ buffer: logits, offset: 0, bytes });
    return device.submit(recorder);
  }

  /** Frees all memory. */
  free(): void {
    for (const buffer of this.#owned) buffer.destroy();
    for (const matrix of this.#matrices) freeMatrix(matrix);
  }

  #record(
    recorder: CommandRecorder,
    dispatch: Dispatch,
    { arena, count, chosen }: StepInput,
  ): void {
    if (dispatch.bound?.arena !== arena) {
      const buffers = dispatch.buffers.map((buffer) => buffer ?? arena);
      dispatch.bound = { arena, group: this.#device.bind(dispatch.pipeline, buffers) };
    }
    const [x, y] = dispatch.size(dispatch.rowSet === "all" ? count : chosen.length);
    recorder.dispatch(dispatch.bound.group, x, y);
  }

  #allocate(isPlain: boolean): Readonly<Record<BufferName, GpuBuffer>> {
    const { activationBits, downBits } = this.#frame;
    const { width, hidden, heads, kvHeads, headSize, vocabulary } = this.#frame.shape;
    const attended = heads * headSize;
    const rows = (words: number): GpuBuffer => this.#create(this.rowsMax * words * 4, "storage");
    const widest = Math.max(width, hidden, attended);
    const all = rows(2);
    this.#device.write(
      all,
      4,
      new Uint32Array(this.rowsMax).map((_, i) => i),
    );
    return {
      stepRows: rows(STEP_ROW_WORDS),
      all,
      chosen: rows(2),
      x: rows(width),
      projected: rows(attended + 2 * kvHeads * headSize),
      queries: rows(attended / 2),
      queryExponents: rows(heads),
      attended: rows(attended),
      product: rows(hidden),
      branch: rows(isPlain ? 1 : Math.max(2 * hidden, width)),
      packed: rows(vectorsOf(widest) * 4 * limbsOf(Math.max(activationBits, downBits))),
      exponents: rows(1),
      logits: rows(vocabulary),
      status: rows(1),
      none: rows(1),
    };
  }

  #placeAll(weights: DecoderWeights): Placed {
    const { layers, rotarySteps, finalGain, finalNormBias, classifier, design } = weights;
    const hasTurns = rotarySteps.length > 0;
    const { none } = this.#buffers;
    return {
      turns: hasTurns ? this.#upload(rotarySteps) : none,
      functions: design.feedForward === "swiglu" ? none : this.#upload(functionTableWords()),
      layers: layers.map((layer) => this.#placeLayer(layer)),
      finalGain: this.#uploadNorm(finalGain, finalNormBias),
      classifier: this.#place([classifier]),
    };
  }

  #form(isFused: boolean): Promise<Form> {
    let form = this.#forms.get(isFused);
    if (form === undefined) {
      form = this.#build(isFused);
      this.#forms.set(isFused, form);
      form.catch(() => this.#forms.delete(isFused));
    }
    return form;
  }

  async #build(isFused: boolean): Promise<Form> {
    const body: Dispatch[] = [];
    for (const [i, layer] of this.#placed.layers.entries()) {
      body.push(...(await this.#attention(i, layer, isFused)));
      body.push(...(await this.#feedForward(i, layer, isFused)));
    }
    return { body, head: await this.#head(isFused) };
  }

  #placeLayer(layer: DecoderLayer): PlacedLayer {
    const { shape } = this.#frame;
    const { gate, queryGain, keyGain, attentionOutputBias, downBias } = layer;
    const own = (vector: Float32Array | undefined): GpuBuffer | undefined =>
      vector === undefined ? undefined : this.#upload(vector);
    const qkvBias = joinBiases(layer, shape, ["queryBias", "keyBias", "valueBias"]);
    const upBias =
      gate === undefined ? layer.upBias : joinBiases(layer, shape, ["gateBias", "upBias"]);
    return {
      attentionGain: this.#uploadNorm(layer.attentionGain, layer.attentionNormBias),
      feedForwardGain: this.#uploadNorm(layer.feedForwardGain, layer.feedForwardNormBias),
      qkv: this.#place([layer.query, layer.key, layer.value]),
      qkvBias: own(qkvBias),
      queryGain: own(queryGain),
      keyGain: own(keyGain),
      output: this.#place([layer.attentionOutput]),
      outputBias: own(attentionOutputBias),
      up:
        gate === undefined
          ? this.#place([layer.up])
          : this.#place([gate, layer.up], upBias === undefined),
      upBias: own(upBias),
      down: this.#place([layer.down]),
      downBias: own(downBias),
    };
  }

  /** A gain with its bias behind it. */
  #uploadNorm(gain: Float32Array, bias: Float32Array | undefined): GpuBuffer {
    return this.#upload(bias === undefined ? gain : Float32Array.of(...gain, ...bias));
  }

  async #attention(index: number, placed: PlacedLayer, isFused: boolean): Promise<Dispatch[]> {
    const { qkv, attentionGain: gain } = placed;
    const { heads, kvHeads, headSize } = this.#frame.shape;
    const b = this.#buffers;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const attended = heads * headSize;
    const stride = attended + 2 * kvHeads * headSize;
    const scale = attentionScale(headSize);
    const splits = [attended, attended + kvHeads * headSize] as const;
    const project = await this.#product(isFused, {
      matrix: qkv,
      rows: b.x,
      row: this.#normRow(layerOpIndex(index, "attention-gain")),
      gain,
      epilogue: "store",
      result: b.projected,
      stride,
      op: at("query"),
      splits,
    });
    if (placed.qkvBias !== undefined) {
      project.push(
        await this.#finish({
          ...{ kind: "bias", rows: b.projected, stride, columns: stride, bias: placed.qkvBias },
          ...{ biasOp: at("query-bias"), splits, result: b.product, op: 0 },
        }),
      );
    }
    const { queryGain, keyGain } = placed;
    if (queryGain !== undefined)
      project.push(await this.#headNorm(queryGain, [0, heads], stride, at("query-gain")));
    if (keyGain !== undefined)
      project.push(await this.#headNorm(keyGain, [attended, kvHeads], stride, at("key-gain")));
    const { design, rotaryInterleaved } = this.#frame;
    const turning = design.positions === "rotary" ? (rotaryInterleaved ? 1 : 0) : 2;
    const size = [heads, kvHeads, headSize];
    const rotary = at("rotary-query");
    const rotate: Dispatch = {
      pipeline: await this.#device.pipeline(rotateShader()),
      buffers: [
        this.#params([...size, stride, index, rotary, turning, 0]),
        ...[
          b.projected,
          b.stepRows,
          this.#placed.turns,
          b.queries,
          b.queryExponents,
          undefined,
          b.status,
        ],
      ],
      rowSet: "all",
      size: (rows) => [heads + 2 * kvHeads, rows],
    };
    const op = at("attention");
    const attend: Dispatch = {
      pipeline: await this.#device.pipeline(attendShader()),
      buffers: [
        this.#params([...size, index, scale.mantissa, scale.exponent, op, attended]),
        ...[b.stepRows, b.queries, b.queryExponents, undefined, b.attended, b.status],
      ],
      rowSet: "all",
      size: (rows) => [heads, rows],
    };
    const residual = await this.#residual(isFused, {
      ...{ matrix: placed.output, rows: b.attended, columns: attended, bias: placed.outputBias },
      ...{ bits: this.#frame.activationBits, op: at("attention-output") },
    });
    return [...project, rotate, attend, ...residual];
  }

  /** A product added to the residual; the ops of its bias and of the sum follow its own. */
  async #residual(
    isFused: boolean,
    call: {
      matrix: DeviceMatrix;
      rows: GpuBuffer;
      columns: number;
      bits: number;
      bias: GpuBuffer | undefined;
      op: number;
    },
  ): Promise<Dispatch[]> {
    const { matrix, rows, columns, bits, bias, op } = call;
    const { width } = this.#frame.shape;
    const { x, branch } = this.#buffers;
    const isBare = bias === undefined;
    const product = await this.#product(isFused, {
      ...{ matrix, rows, row: this.#plainRow(columns, bits), stride: width, op },
      epilogue: isBare ? "residual" : "store",
      result: isBare ? x : branch,
    });
    if (isBare) return product;
    const finish = await this.#finish({
      ...{ kind: "residual", rows: branch, stride: width, columns: width },
      ...{ bias, biasOp: op + 1, result: x, op: op + 2 },
    });
    return [...product, finish];
  }

  async #feedForward(index: number, placed: PlacedLayer, isFused: boolean): Promise<Dispatch[]> {
    const { shape, design } = this.#frame;
    const { hidden } = shape;
    const { up, upBias, feedForwardGain: gain } = placed;
    const b = this.#buffers;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const isGated = design.feedForward === "swiglu";
    const isBare = isGated && upBias === undefined;
    const stride = isGated ? 2 * hidden : hidden;
    const row = this.#normRow(at("feed-forward-gain"));
    const splits = isGated ? ([hidden, NO_SPLIT[1]] as const) : NO_SPLIT;
    const inner = await this.#product(isFused, {
      ...{ matrix: up, rows: b.x, row, gain, op: isGated ? at("gate") : at("up") },
      ...(isBare
        ? { epilogue: "gate", result: b.product, stride: hidden }
        : { epilogue: "store", result: b.branch, stride, splits }),
    });
    const finish: Finish = {
      ...{ rows: b.branch, stride, columns: hidden, bias: upBias, splits, result: b.product },
      ...(isGated
        ? { kind: "gate", biasOp: at("gate-bias"), op: at("silu") }
        : { kind: "gelu", biasOp: at("up-bias"), op: at("gelu") }),
    };
    const residual = await this.#residual(isFused, {
      ...{ matrix: placed.down, rows: b.product, columns: hidden, bias: placed.downBias },
      ...{ bits: this.#frame.downBits, op: at("down") },
    });
    return [...inner, ...(isBare ? [] : [await this.#finish(finish)]), ...residual];
  }

  async #finish(finish: Finish): Promise<Dispatch> {
    const { kind, rows, stride, columns, bias, biasOp, splits = NO_SPLIT, result, op } = finish;
    const { none, status } = this.#buffers;
    const hasBias = bias === undefined ? 0 : 1;
    const params = this.#params([columns, stride, biasOp, ...splits, op, hasBias, 0]);
    const groups = Math.min(Math.ceil(columns / FINISH_COLUMNS), WORKGROUPS_MAX);
    return {
      pipeline: await this.#device.pipeline(finishShader(kind)),
      buffers: [params, rows, this.#placed.functions, bias ?? none, result, status],
      rowSet: "all",
      size: (count) => [groups, count],
    };
  }

  async #headNorm(
    gain: GpuBuffer,
    [first, heads]: readonly [number, number],
    stride: number,
    op: number,
  ): Promise<Dispatch> {
    const { epsilon, shape } = this.#frame;
    const { projected, status } = this.#buffers;
    const words = [first, shape.headSize, stride, ...epsilonWords(epsilon), op, 0];
    return {
      pipeline: await this.#device.pipeline(headNormShader()),
      buffers: [this.#params(words), projected, gain, status],
      rowSet: "all",
      size: (count) => [heads, count],
    };
  }

  #head(isFused: boolean): Promise<Dispatch[]> {
    const { classifier, finalGain } = this.#placed;
    const { vocabulary, layers } = this.#frame.shape;
    return this.#product(isFused, {
      matrix: classifier,
      rows: this.#buffers.x,
      row: this.#normRow(finalOpIndex(layers, "final-gain")),
      gain: finalGain,
      epilogue: "store",
      result: this.#buffers.logits,
      stride: vocabulary,
      op: finalOpIndex(layers, "logits"),
      rowSet: "chosen",
    });
  }

  /** A product in one dispatch for each shard, or with one before them that prepares the rows. */
  async #product(isFused: boolean, product: Product): Promise<Dispatch[]> {
    const { matrix, gain, epilogue, rowSet = "all" } = product;
    const b = this.#buffers;
    const { norm } = this.#frame.design;
    const own = gain === undefined ? "plain" : norm === "rms" ? "norm" : "layer";
    const activationLimbs = limbsOf(product.row.bits);
    const limbs = { activationLimbs, weightLimbs: matrix.limbs };
    const rowsEach = isFused ? 1 : packedRows(activationLimbs + matrix.limbs);
    const outputsEach = blockOutputs(rowsEach, matrix.vectors, matrix.limbs);
    const source = isFused ? own : "packed";
    const shape = { source, ...limbs, epilogue, rows: rowsEach, outputs: outputsEach } as const;
    const shader = projectShader({ ...shape, dot: this.#dot });
    const pipeline = await this.#device.pipeline(shader);
    const row = rowParamWords(product.row);
    const map = rowSet === "all" ? b.all : b.chosen;
    const workgroups = this.#device.isSoftware ? SOFTWARE_WORKGROUPS_MAX : WORKGROUPS_MAX;
    const dispatches = matrix.shards.map(({ first, outputs, weights, columns }): Dispatch => {
      const splits = product.splits ?? NO_SPLIT;
      const words = [matrix.vectors, outputs, first, ...splits, product.op, product.stride];
      const params = this.#params([...words, 0, 0, 0, 0, 0, ...row]);
      const inputs = isFused ? [product.rows, gain ?? b.none] : [b.packed, b.exponents];
      const x = Math.min(Math.ceil(outputs / outputsEach), workgroups);
      return {
        pipeline,
        buffers: [params, map, ...inputs, weights, columns, product.result, b.status],
        rowSet,
        size: (rows) => [x, Math.ceil(rows / rowsEach)],
      };
    });
    if (isFused) return dispatches;
    const prepare: Dispatch = {
      pipeline: await this.#device.pipeline(prepareShader(own, activationLimbs)),
      buffers: [
        this.#params([matrix.vectors * 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...row]),
        ...[map, product.rows, gain ?? b.none, b.packed, b.exponents, b.status],
      ],
      rowSet,
      size: (rows) => [rows, 1],
    };
    return [prepare, ...dispatches];
  }

  #normRow(gainOp: number): RowParams {
    const { activationBits, epsilon, shape, design } = this.#frame;
    const { width } = shape;
    const words = design.norm === "rms" ? epsilonWords(epsilon) : layerNormWords(epsilon);
    return { columns: width, stride: width, bits: activationBits, epsilon: words, gainOp };
  }

  #plainRow(columns: number, bits: number): RowParams {
    return { columns, stride: columns, bits };
  }

  #place(matrices: readonly PackedMatrix[], isInterleaved = false): DeviceMatrix {
    const matrix = placeMatrices(this.#device, matrices, isInterleaved);
    this.#matrices.push(matrix);
    return matrix;
  }

  #params(words: readonly number[]): GpuBuffer {
    const buffer = this.#create(Math.ceil(words.length / 4) * 16, "uniform");
    this.#device.write(buffer, 0, Int32Array.from(words));
    return buffer;
  }

  #upload(data: ArrayBufferView): GpuBuffer {
    const buffer = this.#device.upload(data);
    this.#owned.push(buffer);
    return buffer;
  }

  #create(bytes: number, kind: BufferKind): GpuBuffer {
    const buffer = this.#device.create(bytes, kind);
    this.#owned.push(buffer);
    return buffer;
  }
}

/** One layer's weights on the device; a gain of a layer norm has its bias behind it. */
interface PlacedLayer {
  readonly attentionGain: GpuBuffer;
  readonly qkv: DeviceMatrix;
  readonly qkvBias: GpuBuffer | undefined;
  readonly queryGain: GpuBuffer | undefined;
  readonly keyGain: GpuBuffer | undefined;
  readonly output: DeviceMatrix;
  readonly outputBias: GpuBuffer | undefined;
  readonly feedForwardGain: GpuBuffer;
  /** With a gate, its outputs and up's take turns; with biases, gate's come first. */
  readonly up: DeviceMatrix;
  readonly upBias: GpuBuffer | undefined;
  readonly down: DeviceMatrix;
  readonly downBias: GpuBuffer | undefined;
}

/** All weights on the device. */
interface Placed {
  readonly turns: GpuBuffer;
  readonly functions: GpuBuffer;
  readonly layers: readonly PlacedLayer[];
  readonly finalGain: GpuBuffer;
  readonly classifier: DeviceMatrix;
}

type BufferName =
  | "stepRows"
  | "all"
  | "chosen"
  | "x"
  | "projected"
  | "queries"
  | "queryExponents"
  | "attended"
  | "product"
  | "branch"
  | "packed"
  | "exponents"
  | "logits"
  | "status"
  | "none";

/** Rows of a workgroup by the bytes of an activation and a weight together: sums of all must fit its memory. */
function packedRows(limbs: number): 2 | 4 | 8 {
  if (limbs <= 3) return 8;
  return limbs === 4 ? 4 : 2;
}
