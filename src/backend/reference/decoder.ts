// The oracle's decoder: one position at a time, every op of docs/spec/01-numerics.md section 10 in its
// order, unfused. It is what "bit for bit" is measured against.

import { assert, present } from "gyrotron/base";
import {
  ATTENTION_BITS,
  type BfpRows,
  type Decoder,
  type DecoderLayer,
  type DecoderRow,
  type DecoderWeights,
  describeOp,
  type FinalOp,
  finalOpIndex,
  type LayerOp,
  layerOpIndex,
  type NonFinite,
  type PackedMatrix,
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
    const { embedding, layers, shape, finalGain, classifier } = this.#weights;
    assert(row.token < shape.vocabulary, "token out of range");
    let x = this.#ops.embed(embedding.rows(row.token, 1), shape.width, Uint32Array.of(0));
    layers.forEach((layer, i) => (x = this.#layer(cache, i, layer, x)));
    cache.length += 1;
    if (!row.wantsLogits) return undefined;
    const at = (op: FinalOp): number => finalOpIndex(layers.length, op);
    const normed = this.#norm(x, finalGain, at("final-norm"), at("final-gain"));
    return this.#project(normed, classifier, at("logits"));
  }

  #layer(
    cache: ReferenceCache,
    index: number,
    layer: DecoderLayer,
    input: Float32Array,
  ): Float32Array {
    const { heads, kvHeads, headSize, width } = this.#weights.shape;
    const at = (op: LayerOp): number => layerOpIndex(index, op);
    const position = cache.length;

    const normed = this.#norm(
      input,
      layer.attentionGain,
      at("attention-norm"),
      at("attention-gain"),
    );
    const query = this.#project(normed, layer.query, at("query"));
    const key = this.#project(normed, layer.key, at("key"));
    const value = this.#project(normed, layer.value, at("value"));
    const rotatedQuery = this.#rotary(query, heads, position, at("rotary-query"));
    const rotatedKey = this.#rotary(key, kvHeads, position, at("rotary-key"));
    const keys = present(cache.keys[index]);
    const values = present(cache.values[index]);
    keys.push(this.#ops.quantize(rotatedKey, headSize, ATTENTION_BITS));
    values.push(this.#ops.quantize(value, headSize, ATTENTION_BITS));
    const attended = this.#ops.attention({
      heads,
      kvHeads,
      headSize,
      queries: this.#ops.quantize(rotatedQuery, headSize, ATTENTION_BITS),
      keys: joinRows(keys),
      values: joinRows(values),
    });
    finite(attended, at("attention"));
    const output = this.#project(attended, layer.attentionOutput, at("attention-output"));
    const x = finite(this.#ops.add(input, output), at("attention-residual"));

    const second = this.#norm(
      x,
      layer.feedForwardGain,
      at("feed-forward-norm"),
      at("feed-forward-gain"),
    );
    const gate = this.#project(second, layer.gate, at("gate"));
    const up = this.#project(second, layer.up, at("up"));
    const activated = finite(this.#ops.silu(gate), at("silu"));
    const product = finite(this.#ops.multiply(activated, up), at("product"));
    const down = this.#project(product, layer.down, at("down"));
    assert(x.length === width && down.length === width, "widths differ");
    return finite(this.#ops.add(x, down), at("feed-forward-residual"));
  }

  #norm(x: Float32Array, gain: Float32Array, normAt: number, gainAt: number): Float32Array {
    const normed = finite(this.#ops.rmsNorm(x, x.length, this.#weights.epsilon), normAt);
    return finite(this.#ops.multiply(normed, gain), gainAt);
  }

  #project(x: Float32Array, matrix: PackedMatrix, at: number): Float32Array {
    const bits = this.#weights.activationBits;
    return finite(this.#ops.matmul(this.#ops.quantize(x, x.length, bits), bits, matrix), at);
  }

  #rotary(x: Float32Array, heads: number, position: number, at: number): Float32Array {
    const { rotarySteps: steps, rotaryInterleaved: interleaved, shape } = this.#weights;
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
