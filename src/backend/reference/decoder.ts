// The oracle's decoder: one position at a time, every op of docs/spec/01-numerics.md section 10 in its
// order, unfused. It is what "bit for bit" is measured against.

import { assert, present } from "gyrotron/base";
import {
  type ActivationBits,
  ATTENTION_BITS,
  type BfpRows,
  type Decoder,
  type DecoderLayer,
  type DecoderRow,
  type DecoderWeights,
  describeOp,
  type EmbeddingTable,
  type FinalOp,
  finalOpIndex,
  type LayerOp,
  layerOpIndex,
  type NonFinite,
  type PackedMatrix,
  POSITION_OP_INDEX,
  type SequenceCache,
  type StepResult,
  TensorError,
} from "gyrotron/tensor";
import type { ReferenceOps } from "./ops.ts";

/** Signals the first op of a position whose result is not finite; never leaves this file. */
class NotFinite extends Error {
  readonly index: number;

  constructor(index: number) {
    super(`op ${index} is not finite`);
    this.index = index;
  }
}

class ReferenceCache implements SequenceCache {
  readonly capacity: number;
  /** Per layer, the rows of all positions so far. */
  readonly keys: BfpRows[][];
  readonly values: BfpRows[][];
  length = 0;
  open = true;

  constructor(layers: number, capacity: number) {
    this.capacity = capacity;
    this.keys = Array.from({ length: layers }, () => []);
    this.values = Array.from({ length: layers }, () => []);
  }

  truncate(length: number): void {
    assert(length >= 0 && length <= this.length, "a cache is cut, not extended");
    this.length = length;
    // A position that failed may have left rows in some layers.
    for (const rows of [...this.keys, ...this.values]) rows.length = Math.min(rows.length, length);
  }

  fork(length: number, capacity: number): SequenceCache {
    assert(this.open && length <= this.length && length <= capacity, "a fork of what is there");
    const copy = new ReferenceCache(this.keys.length, capacity);
    copy.length = length;
    this.keys.forEach((rows, i) => copy.keys[i]!.push(...rows.slice(0, length)));
    this.values.forEach((rows, i) => copy.values[i]!.push(...rows.slice(0, length)));
    return copy;
  }

  free(): void {
    this.open = false;
  }
}

/** A decoder made of single ops. */
export class ReferenceDecoder implements Decoder {
  readonly rowsMax = 4096;
  readonly #weights: DecoderWeights;
  readonly #ops: ReferenceOps;

  constructor(weights: DecoderWeights, ops: ReferenceOps) {
    this.#weights = weights;
    this.#ops = ops;
  }

  createCache(capacity: number): SequenceCache {
    return new ReferenceCache(this.#weights.shape.layers, capacity);
  }

  async step(rows: readonly DecoderRow[]): Promise<StepResult> {
    const failures = new Map<SequenceCache, NonFinite>();
    const logits = rows.map((row) => {
      const cache = row.cache;
      assert(cache instanceof ReferenceCache, "a cache of another backend");
      if (!cache.open) throw new TensorError({ code: "tensor/closed", what: "cache" });
      if (failures.has(cache)) return undefined;
      const position = cache.length;
      if (position >= cache.capacity) {
        throw new TensorError({ code: "tensor/context-full", capacity: cache.capacity, position });
      }
      try {
        return this.#position(cache, row);
      } catch (error) {
        if (!(error instanceof NotFinite)) throw error;
        const op = describeOp(this.#weights.shape.layers, error.index);
        failures.set(cache, { position, op });
        return undefined;
      }
    });
    for (const [i, row] of rows.entries()) if (failures.has(row.cache)) logits[i] = undefined;
    return { logits, failures };
  }

  async close(): Promise<void> {}

  #position(cache: ReferenceCache, row: DecoderRow): Float32Array | undefined {
    const { embedding, layers, shape, finalGain, finalNormBias, classifier } = this.#weights;
    assert(row.token < shape.vocabulary, "token out of range");
    let x = this.#place(this.#embed(embedding, row.token), cache.length);
    layers.forEach((layer, i) => (x = this.#layer(cache, i, layer, x)));
    cache.length += 1;
    if (!row.wantsLogits) return undefined;
    const at = (op: FinalOp): number => finalOpIndex(layers.length, op);
    const final = { gain: finalGain, bias: finalNormBias };
    return this.#project(this.#norm(x, final, at("final-norm")), classifier, at("logits"));
  }

  #embed(table: EmbeddingTable, token: number): Float32Array {
    return this.#ops.embed(table.rows(token, 1), table.width, Uint32Array.of(0));
  }

  /** Adds the learned position, if there are such. */
  #place(x: Float32Array, position: number): Float32Array {
    const { positions } = this.#weights;
    if (positions === undefined) return x;
    return finite(this.#ops.add(x, this.#embed(positions, position)), POSITION_OP_INDEX);
  }

  #layer(
    cache: ReferenceCache,
    index: number,
    layer: DecoderLayer,
    input: Float32Array,
  ): Float32Array {
    const { shape, design } = this.#weights;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const output = this.#attention(cache, index, layer, input);
    const x = finite(this.#ops.add(input, output), at("attention-residual"));
    const norm = { gain: layer.feedForwardGain, bias: layer.feedForwardNormBias };
    const second = this.#norm(x, norm, at("feed-forward-norm"));
    const isGated = design.feedForward === "swiglu";
    const inner = isGated ? this.#gated(index, layer, second) : this.#gelu(index, layer, second);
    const product = this.#project(inner, layer.down, at("down"), this.#weights.downBits);
    const down = this.#biased(product, layer.downBias, at("down-bias"));
    assert(x.length === shape.width && down.length === shape.width, "widths differ");
    return finite(this.#ops.add(x, down), at("feed-forward-residual"));
  }

  #attention(
    cache: ReferenceCache,
    index: number,
    layer: DecoderLayer,
    input: Float32Array,
  ): Float32Array {
    const { heads, kvHeads, headSize } = this.#weights.shape;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const norm = { gain: layer.attentionGain, bias: layer.attentionNormBias };
    const normed = this.#norm(input, norm, at("attention-norm"));
    const products = {
      query: this.#project(normed, layer.query, at("query")),
      key: this.#project(normed, layer.key, at("key")),
      value: this.#project(normed, layer.value, at("value")),
    };
    const query = this.#biased(products.query, layer.queryBias, at("query-bias"));
    const key = this.#biased(products.key, layer.keyBias, at("key-bias"));
    const value = this.#biased(products.value, layer.valueBias, at("value-bias"));
    const queries = this.#heads(query, layer.queryGain, at("query-norm"));
    const ownKeys = this.#heads(key, layer.keyGain, at("key-norm"));
    const turnedQuery = this.#rotary(queries, heads, cache.length, at("rotary-query"));
    const turnedKey = this.#rotary(ownKeys, kvHeads, cache.length, at("rotary-key"));
    const keys = present(cache.keys[index]);
    const values = present(cache.values[index]);
    keys.push(this.#ops.quantize(turnedKey, headSize, ATTENTION_BITS));
    values.push(this.#ops.quantize(value, headSize, ATTENTION_BITS));
    const attended = this.#ops.attention({
      heads,
      kvHeads,
      headSize,
      queries: this.#ops.quantize(turnedQuery, headSize, ATTENTION_BITS),
      keys: joinRows(keys),
      values: joinRows(values),
    });
    finite(attended, at("attention"));
    const output = this.#project(attended, layer.attentionOutput, at("attention-output"));
    return this.#biased(output, layer.attentionOutputBias, at("attention-output-bias"));
  }

  /** silu(gate) * up. */
  #gated(index: number, layer: DecoderLayer, x: Float32Array): Float32Array {
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const gateProduct = this.#project(x, present(layer.gate), at("gate"));
    const upProduct = this.#project(x, layer.up, at("up"));
    const gate = this.#biased(gateProduct, layer.gateBias, at("gate-bias"));
    const up = this.#biased(upProduct, layer.upBias, at("up-bias"));
    const activated = finite(this.#ops.silu(gate), at("silu"));
    return finite(this.#ops.multiply(activated, up), at("product"));
  }

  #gelu(index: number, layer: DecoderLayer, x: Float32Array): Float32Array {
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const product = this.#project(x, layer.up, at("up"));
    const up = this.#biased(product, layer.upBias, at("up-bias"));
    return finite(this.#ops.geluTanh(up), at("gelu"));
  }

  /** The design's norm with its gain, whose op is the next, and its bias. */
  #norm(
    x: Float32Array,
    { gain, bias }: { gain: Float32Array; bias: Float32Array | undefined },
    at: number,
  ): Float32Array {
    const { design, epsilon } = this.#weights;
    const normed =
      design.norm === "rms"
        ? this.#ops.rmsNorm(x, x.length, epsilon)
        : this.#ops.layerNorm(x, x.length, epsilon);
    const scaled = finite(this.#ops.multiply(finite(normed, at), gain), at + 1);
    return this.#biased(scaled, bias, at + 2);
  }

  /** RMS norm of each head's slice with one gain for all, if there is one; the gain's op is the next. */
  #heads(x: Float32Array, gain: Float32Array | undefined, at: number): Float32Array {
    if (gain === undefined) return x;
    const { epsilon, shape } = this.#weights;
    const normed = finite(this.#ops.rmsNorm(x, shape.headSize, epsilon), at);
    const gains = normed.map((_, i) => present(gain[i % shape.headSize]));
    return finite(this.#ops.multiply(normed, gains), at + 1);
  }

  #biased(x: Float32Array, bias: Float32Array | undefined, at: number): Float32Array {
    return bias === undefined ? x : finite(this.#ops.add(x, bias), at);
  }

  #project(
    x: Float32Array,
    matrix: PackedMatrix,
    at: number,
    bits: ActivationBits = this.#weights.activationBits,
  ): Float32Array {
    return finite(this.#ops.matmul(this.#ops.quantize(x, x.length, bits), bits, matrix), at);
  }

  #rotary(x: Float32Array, heads: number, position: number, at: number): Float32Array {
    const { rotarySteps: steps, rotaryInterleaved: interleaved, shape, design } = this.#weights;
    if (design.positions !== "rotary") return x;
    const positions = Uint32Array.of(position);
    const { headSize } = shape;
    return finite(this.#ops.rotary({ x, heads, headSize, positions, steps, interleaved }), at);
  }
}

function finite(x: Float32Array, index: number): Float32Array {
  if (!x.every(Number.isFinite)) throw new NotFinite(index);
  return x;
}

function joinRows(parts: readonly BfpRows[]): BfpRows {
  return {
    columns: present(parts[0]).columns,
    mantissas: Int32Array.from(parts.flatMap((part) => Array.from(part.mantissas))),
    exponents: Int32Array.from(parts.flatMap((part) => Array.from(part.exponents))),
  };
}
