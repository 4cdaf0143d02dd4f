// A decoder as Hugging Face stores it: config.json and safetensors files. Tensors are read when they are asked
// for, each time anew.

import { type EmbeddingTable, type LayerVector, layerVectorSizes } from "gyrotron/tensor";
import type { ByteSource } from "./byte-source.ts";
import { ModelError } from "./error.ts";
import { decodeHubConfig, type HubConfig } from "./hub-config.ts";
import { lazyLayer } from "./lazy-layer.ts";
import type { ModelSource, SourceLayer } from "./model-source.ts";
import { type SafetensorsShards, ShardedTensors } from "./safetensors-shards.ts";
import { Safetensors, type StoredTensor, type TensorStore } from "./safetensors.ts";

/** @throws DecodeError, ModelError on files that are damaged, do not fit together or cannot run here */
export function decodeHuggingFace(files: {
  config: Uint8Array;
  tensors: Uint8Array | ByteSource | SafetensorsShards;
}): ModelSource {
  const config = decodeHubConfig(files.config);
  const { tensors } = files;
  const store = "index" in tensors ? new ShardedTensors(tensors) : new Safetensors(tensors);
  const reader = new TensorReader(store);
  return config.family === "gpt2" ? openGpt2(config, reader) : openLlama(config, reader);
}

function openLlama({ settings, vectors, tied }: HubConfig, reader: TensorReader): ModelSource {
  const { width, layers, vocabulary } = settings.shape;
  const embedding = reader.expectRows("model.embed_tokens.weight", { vocabulary, width });
  const all = Array.from({ length: layers }, (_, i) =>
    llamaLayer(reader, `model.layers.${i}`, settings.shape, vectors),
  );
  const finalGain = reader.expect("model.norm.weight", [width]);
  const classifier = tied ? undefined : reader.expectRows("lm_head.weight", { vocabulary, width });
  reader.finish(tied ? (name) => name === "lm_head.weight" : undefined);
  return {
    ...settings,
    embedding,
    layers: all,
    get finalGain() {
      return finalGain();
    },
    classifier,
  };
}

const LLAMA_VECTORS: Readonly<Partial<Record<LayerVector, string>>> = {
  queryBias: "self_attn.q_proj.bias",
  keyBias: "self_attn.k_proj.bias",
  valueBias: "self_attn.v_proj.bias",
  queryGain: "self_attn.q_norm.weight",
  keyGain: "self_attn.k_norm.weight",
  attentionOutputBias: "self_attn.o_proj.bias",
  gateBias: "mlp.gate_proj.bias",
  upBias: "mlp.up_proj.bias",
  downBias: "mlp.down_proj.bias",
};

function llamaLayer(
  reader: TensorReader,
  at: string,
  shape: ModelSource["shape"],
  vectors: readonly LayerVector[],
): SourceLayer {
  const { width, hidden, heads, kvHeads, headSize } = shape;
  const [attended, keys] = [heads * headSize, kvHeads * headSize];
  const sizes = layerVectorSizes(shape);
  return lazyLayer<SourceLayer>({
    attentionGain: reader.expect(`${at}.input_layernorm.weight`, [width]),
    query: reader.expect(`${at}.self_attn.q_proj.weight`, [attended, width]),
    key: reader.expect(`${at}.self_attn.k_proj.weight`, [keys, width]),
    value: reader.expect(`${at}.self_attn.v_proj.weight`, [keys, width]),
    attentionOutput: reader.expect(`${at}.self_attn.o_proj.weight`, [width, attended]),
    feedForwardGain: reader.expect(`${at}.post_attention_layernorm.weight`, [width]),
    gate: reader.expect(`${at}.mlp.gate_proj.weight`, [hidden, width]),
    up: reader.expect(`${at}.mlp.up_proj.weight`, [hidden, width]),
    down: reader.expect(`${at}.mlp.down_proj.weight`, [width, hidden]),
    ...Object.fromEntries(
      vectors.map((name) => [name, reader.expect(`${at}.${LLAMA_VECTORS[name]!}`, [sizes[name]])]),
    ),
  });
}

/** Names may have the prefix `transformer.`; matrices are `[inputs, outputs]`, those of Q, K and V one. */
function openGpt2(config: HubConfig, reader: TensorReader): ModelSource {
  const { settings, tied, positions: rows } = config;
  const { width, layers, vocabulary, context } = settings.shape;
  const prefix = reader.has("transformer.wte.weight") ? "transformer." : "";
  const embedding = reader.expectRows(`${prefix}wte.weight`, { vocabulary, width });
  const places = reader.expectRows(`${prefix}wpe.weight`, { vocabulary: rows ?? context, width });
  const all = Array.from({ length: layers }, (_, i) =>
    gpt2Layer(reader, `${prefix}h.${i}`, settings.shape),
  );
  const finalGain = reader.expect(`${prefix}ln_f.weight`, [width]);
  const finalNormBias = reader.expect(`${prefix}ln_f.bias`, [width]);
  const classifier = tied ? undefined : reader.expectRows("lm_head.weight", { vocabulary, width });
  // The causal mask is stored in old files.
  const isMask = (name: string): boolean => /\.attn\.(bias|masked_bias)$/.test(name);
  reader.finish((name) => isMask(name) || (tied && name === "lm_head.weight"));
  return {
    ...settings,
    embedding,
    positions: { ...places, vocabulary: context },
    layers: all,
    get finalGain() {
      return finalGain();
    },
    get finalNormBias() {
      return finalNormBias();
    },
    classifier,
  };
}

function gpt2Layer(reader: TensorReader, at: string, shape: ModelSource["shape"]): SourceLayer {
  const { width, hidden } = shape;
  const linear = (name: string, outputs: number, inputs: number): (() => Float32Array) => {
    const read = reader.expect(`${at}.${name}.weight`, [inputs, outputs]);
    return () => turned(read(), { outputs, first: 0, count: outputs });
  };
  const vector = (name: string, size: number): (() => Float32Array) =>
    reader.expect(`${at}.${name}`, [size]);
  const fused = reader.expect(`${at}.attn.c_attn.weight`, [width, 3 * width]);
  const fusedBias = vector("attn.c_attn.bias", 3 * width);
  const third = (i: number): (() => Float32Array) => {
    return () => turned(fused(), { outputs: 3 * width, first: i * width, count: width });
  };
  const thirdBias = (i: number): (() => Float32Array) => {
    return () => fusedBias().slice(i * width, (i + 1) * width);
  };
  return lazyLayer<SourceLayer>({
    attentionGain: vector("ln_1.weight", width),
    attentionNormBias: vector("ln_1.bias", width),
    query: third(0),
    key: third(1),
    value: third(2),
    queryBias: thirdBias(0),
    keyBias: thirdBias(1),
    valueBias: thirdBias(2),
    attentionOutput: linear("attn.c_proj", width, width),
    attentionOutputBias: vector("attn.c_proj.bias", width),
    feedForwardGain: vector("ln_2.weight", width),
    feedForwardNormBias: vector("ln_2.bias", width),
    up: linear("mlp.c_fc", hidden, width),
    upBias: vector("mlp.c_fc.bias", hidden),
    down: linear("mlp.c_proj", width, hidden),
    downBias: vector("mlp.c_proj.bias", width),
  });
}

const TURNED_COLUMNS = 16;

/** Columns `first` to `first + count` of `[inputs, outputs]` as rows. */
function turned(
  values: Float32Array,
  { outputs, first, count }: { outputs: number; first: number; count: number },
): Float32Array {
  const inputs = values.length / outputs;
  const result = new Float32Array(inputs * count);
  // Few columns at a time, so that what is written stays in the cache.
  for (let start = 0; start < count; start += TURNED_COLUMNS) {
    const end = Math.min(count, start + TURNED_COLUMNS);
    for (let k = 0; k < inputs; k++) {
      const from = k * outputs + first;
      for (let c = start; c < end; c++) result[c * inputs + k] = values[from + c]!;
    }
  }
  return result;
}

/** Reads each tensor at the shape that it must have, and knows which were never asked for. */
export class TensorReader {
  readonly #file: TensorStore;
  readonly #known: Set<string> = new Set();

  constructor(file: TensorStore) {
    this.#file = file;
  }

  has(name: string): boolean {
    return this.#file.tensors.has(name);
  }

  /** A way to read a tensor, whose shape is checked now. @throws ModelError `model/tensor-missing`, `model/tensor-shape` */
  expect(name: string, shape: readonly number[]): () => Float32Array {
    const tensor = this.#checked(name, shape);
    return () => this.#file.floats(tensor);
  }

  /** As `expect`, for a table that is read by rows. */
  expectRows(name: string, size: { vocabulary: number; width: number }): EmbeddingTable {
    const { vocabulary, width } = size;
    const tensor = this.#checked(name, [vocabulary, width]);
    return {
      vocabulary,
      width,
      rows: (first, count) => this.#file.floats(tensor, first * width, count * width),
    };
  }

  /** A tensor's values now. */
  read(name: string, shape: readonly number[]): Float32Array {
    return this.expect(name, shape)();
  }

  #checked(name: string, shape: readonly number[]): StoredTensor {
    const tensor = this.#file.tensors.get(name);
    if (tensor === undefined) throw new ModelError({ code: "model/tensor-missing", name });
    const expected = shape.join(" x ");
    const actual = tensor.shape.join(" x ");
    if (actual !== expected)
      throw new ModelError({ code: "model/tensor-shape", name, expected, actual });
    this.#known.add(name);
    return tensor;
  }

  /** A tensor that nobody asked for (a bias, say) means that the model is not what it is taken for. */
  finish(isIgnored: (name: string) => boolean = () => false): void {
    for (const name of this.#file.tensors.keys()) {
      if (this.#known.has(name) || isIgnored(name) || name.endsWith("rotary_emb.inv_freq"))
        continue;
      throw new ModelError({ code: "model/unsupported", what: `tensor ${name}` });
    }
  }
}
