// A Llama-type model as Hugging Face stores it: config.json and one safetensors file.

import { DecodeError, utf8Text } from "gyrotron/base";
import { DECODER_LIMITS, embeddingTable } from "gyrotron/tensor";
import { ModelError } from "./error.ts";
import {
  checkSettings,
  type ModelSettings,
  type ModelSource,
  type SourceLayer,
} from "./model-source.ts";
import { Safetensors } from "./safetensors.ts";

const CONFIG_BYTES_MAX = 65536;

/** @throws DecodeError, ModelError on files that are damaged, do not fit together or cannot run here */
export function decodeHuggingFace(files: { config: Uint8Array; tensors: Uint8Array }): ModelSource {
  const { settings, tied } = decodeConfig(files.config);
  const reader = new TensorReader(new Safetensors(files.tensors));
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary } = settings.shape;
  const attended = heads * headSize;
  const keys = kvHeads * headSize;
  const layer = (i: number): SourceLayer => {
    const at = `model.layers.${i}`;
    return {
      attentionGain: reader.read(`${at}.input_layernorm.weight`, [width]),
      query: reader.read(`${at}.self_attn.q_proj.weight`, [attended, width]),
      key: reader.read(`${at}.self_attn.k_proj.weight`, [keys, width]),
      value: reader.read(`${at}.self_attn.v_proj.weight`, [keys, width]),
      attentionOutput: reader.read(`${at}.self_attn.o_proj.weight`, [width, attended]),
      feedForwardGain: reader.read(`${at}.post_attention_layernorm.weight`, [width]),
      gate: reader.read(`${at}.mlp.gate_proj.weight`, [hidden, width]),
      up: reader.read(`${at}.mlp.up_proj.weight`, [hidden, width]),
      down: reader.read(`${at}.mlp.down_proj.weight`, [width, hidden]),
    };
  };
  const source = {
    ...settings,
    embedding: embeddingTable(reader.read("model.embed_tokens.weight", [vocabulary, width]), width),
    layers: Array.from({ length: layers }, (_, i) => layer(i)),
    finalGain: reader.read("model.norm.weight", [width]),
    classifier: tied ? undefined : reader.read("lm_head.weight", [vocabulary, width]),
  };
  reader.finish(tied ? ["lm_head.weight"] : []);
  return source;
}

/** Reads each tensor at the shape that it must have, and knows which were never asked for. */
export class TensorReader {
  readonly #file: Safetensors;
  readonly #read: Set<string> = new Set();

  constructor(file: Safetensors) {
    this.#file = file;
  }

  read(name: string, shape: readonly number[]): Float32Array {
    const tensor = this.#file.tensors.get(name);
    if (tensor === undefined) throw new ModelError({ code: "model/tensor-missing", name });
    const expected = shape.join(" x ");
    const actual = tensor.shape.join(" x ");
    if (actual !== expected)
      throw new ModelError({ code: "model/tensor-shape", name, expected, actual });
    this.#read.add(name);
    return this.#file.floats(tensor);
  }

  /** A tensor that nobody asked for (a bias, say) means that the model is not what it is taken for. */
  finish(ignored: readonly string[]): void {
    for (const name of this.#file.tensors.keys()) {
      if (this.#read.has(name) || ignored.includes(name) || name.endsWith("rotary_emb.inv_freq"))
        continue;
      throw new ModelError({ code: "model/unsupported", what: `tensor ${name}` });
    }
  }
}

function decodeConfig(bytes: Uint8Array): { settings: ModelSettings; tied: boolean } {
  const config = parseConfig(bytes);
  const number = (key: string, fallback?: number): number => {
    const value = config.get(key) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value))
      throw configError(`${key} is no number`);
    return value;
  };
  const flag = (key: string, fallback: boolean): boolean => {
    const value = config.get(key) ?? fallback;
    if (typeof value !== "boolean") throw configError(`${key} is no boolean`);
    return value;
  };
  if ((config.get("hidden_act") ?? "silu") !== "silu") unsupported("hidden_act other than silu");
  if ((config.get("model_type") ?? "llama") !== "llama") unsupported("model_type other than llama");
  if ((config.get("rope_scaling") ?? null) !== null) unsupported("rope_scaling");
  if ((config.get("rope_parameters") ?? null) !== null) unsupported("rope_parameters");
  if ((config.get("sliding_window") ?? null) !== null) unsupported("sliding_window");
  if (flag("attention_bias", false) || flag("mlp_bias", false)) unsupported("biases");
  const width = number("hidden_size");
  const heads = number("num_attention_heads");
  const end = config.get("eos_token_id") ?? 2;
  const endTokens: unknown[] = Array.isArray(end) ? end : [end];
  if (!endTokens.every((token) => typeof token === "number"))
    throw configError("eos_token_id is no token");
  const settings: ModelSettings = {
    shape: {
      width,
      hidden: number("intermediate_size"),
      layers: number("num_hidden_layers"),
      heads,
      kvHeads: number("num_key_value_heads", heads),
      headSize: number("head_dim", width / heads),
      vocabulary: number("vocab_size"),
      context: Math.min(number("max_position_embeddings"), DECODER_LIMITS.context),
    },
    epsilon: Math.fround(number("rms_norm_eps", 1e-6)),
    rotaryTheta: number("rope_theta", 10000),
    rotaryInterleaved: flag("rope_interleaved", false),
    beginToken: number("bos_token_id", 1),
    endTokens: endTokens as number[],
  };
  checkSettings(settings);
  return { settings, tied: flag("tie_word_embeddings", false) };
}

function parseConfig(bytes: Uint8Array): Map<string, unknown> {
  if (bytes.length > CONFIG_BYTES_MAX) throw configError("too long");
  const text = utf8Text(bytes);
  if (text === undefined) throw configError("not UTF-8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw configError("not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw configError("no object");
  return new Map(Object.entries(value));
}

function configError(what: string): DecodeError {
  return new DecodeError({ code: "config/decode", what, offset: 0 });
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
