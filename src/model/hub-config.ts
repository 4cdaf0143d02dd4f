// The config.json of a model on the Hugging Face hub: which architecture, which sizes, which of the vectors that
// not every model has. What this version does not compute is refused by name.

import { DecodeError, utf8Text } from "gyrotron/base";
import type { RotaryScaling } from "gyrotron/numerics";
import {
  DECODER_LIMITS,
  GPT2_DESIGN,
  LAYER_VECTORS,
  type LayerVector,
  LLAMA_DESIGN,
} from "gyrotron/tensor";
import { ModelError } from "./error.ts";
import { checkSettings, type ModelSettings } from "./model-source.ts";

const CONFIG_BYTES_MAX = 65536;

/** What a config.json says. */
export interface HubConfig {
  readonly settings: ModelSettings;
  /** How tensors are named and laid out. */
  readonly family: "llama" | "gpt2";
  /** Vectors that each layer has. */
  readonly vectors: readonly LayerVector[];
  /** Whether the classifier is the embedding. */
  readonly tied: boolean;
  /** Rows of the table of learned positions, of which the context may need fewer. */
  readonly positions?: number;
}

/** @throws DecodeError `config/decode`; ModelError `model/unsupported`, `model/limit` */
export function decodeHubConfig(bytes: Uint8Array): HubConfig {
  const config = new Config(bytes);
  const type = config.text("model_type", "llama");
  const read = FAMILIES.get(type);
  if (read === undefined)
    unsupported(
      type === "bert"
        ? "model_type bert as a writer of text; `embed` runs it"
        : `model_type ${type}; this version runs ${[...FAMILIES.keys()].join(", ")}`,
    );
  const decoded = read(config);
  checkSettings(decoded.settings);
  return decoded;
}

const FAMILIES: ReadonlyMap<string, (config: Config) => HubConfig> = new Map([
  ["llama", (config) => llamaConfig(config, llamaBiases(config))],
  ["mistral", (config) => llamaConfig(config, [])],
  ["qwen2", (config) => llamaConfig(config, ["queryBias", "keyBias", "valueBias"])],
  ["qwen3", (config) => llamaConfig(config, [...llamaBiases(config), "queryGain", "keyGain"])],
  ["gpt2", gpt2Config],
]);

function llamaBiases(config: Config): LayerVector[] {
  const attention = ["queryBias", "keyBias", "valueBias", "attentionOutputBias"] as const;
  return [
    ...(config.flag("attention_bias", false) ? attention : []),
    ...(config.flag("mlp_bias", false) ? (["gateBias", "upBias", "downBias"] as const) : []),
  ];
}

function llamaConfig(config: Config, vectors: readonly LayerVector[]): HubConfig {
  const activation = config.text("hidden_act", "silu");
  if (activation !== "silu") unsupported(`hidden_act ${activation} where silu is expected`);
  const width = config.number("hidden_size");
  const heads = config.number("num_attention_heads");
  const { theta, scaling } = decodeRotary(config);
  const settings: ModelSettings = {
    shape: {
      width,
      hidden: config.number("intermediate_size"),
      layers: config.number("num_hidden_layers"),
      heads,
      kvHeads: config.number("num_key_value_heads", heads),
      headSize: config.number("head_dim", width / heads),
      vocabulary: config.number("vocab_size"),
      context: Math.min(config.number("max_position_embeddings"), windowOf(config)),
    },
    design: LLAMA_DESIGN,
    epsilon: Math.fround(config.number("rms_norm_eps", 1e-6)),
    rotaryTheta: theta,
    ...(scaling !== undefined && { rotaryScaling: scaling }),
    rotaryInterleaved: config.flag("rope_interleaved", false),
    ...tokensOf(config, 1, 2),
  };
  const tied = config.flag("tie_word_embeddings", false);
  return { settings, family: "llama", vectors, tied };
}

function gpt2Config(config: Config): HubConfig {
  const activation = config.text("activation_function", "gelu_new");
  if (activation !== "gelu_new" && activation !== "gelu_pytorch_tanh")
    unsupported(`activation_function ${activation} where gelu_new is expected`);
  if (config.flag("scale_attn_by_inverse_layer_idx", false))
    unsupported("scale_attn_by_inverse_layer_idx");
  if (!config.flag("scale_attn_weights", true)) unsupported("scale_attn_weights false");
  if (config.flag("add_cross_attention", false)) unsupported("add_cross_attention");
  const width = config.number("n_embd");
  const heads = config.number("n_head");
  const headSize = width / heads;
  const positions = config.number("n_positions", config.number("n_ctx", 1024));
  const settings: ModelSettings = {
    shape: {
      width,
      hidden: config.number("n_inner", 4 * width),
      layers: config.number("n_layer"),
      ...{ heads, kvHeads: heads, headSize },
      vocabulary: config.number("vocab_size"),
      context: Math.min(positions, DECODER_LIMITS.context),
    },
    design: GPT2_DESIGN,
    epsilon: Math.fround(config.number("layer_norm_epsilon", 1e-5)),
    rotaryTheta: 10000,
    rotaryInterleaved: false,
    ...tokensOf(config, 50256, 50256),
  };
  const vectors = LAYER_VECTORS.filter(
    (name) => name !== "queryGain" && name !== "keyGain" && name !== "gateBias",
  );
  const tied = config.flag("tie_word_embeddings", true);
  return { settings, family: "gpt2", vectors, tied, positions };
}

/** Positions within which a sliding window hides nothing. */
function windowOf(config: Config): number {
  for (const kind of config.list("layer_types")) {
    if (kind !== "full_attention" && kind !== "sliding_attention")
      unsupported(`layer_types ${String(kind)}`);
  }
  const isUsed = config.flag("use_sliding_window", true);
  const window = isUsed ? config.number("sliding_window", Infinity) : Infinity;
  return Math.min(window, DECODER_LIMITS.context);
}

/** Older files have `rope_theta` beside `rope_scaling`, newer ones both in `rope_parameters`. */
function decodeRotary(config: Config): { theta: number; scaling: RotaryScaling | undefined } {
  const rope = config.record("rope_parameters") ?? config.record("rope_scaling");
  const outside = config.number("rope_theta", 10000);
  const part = config.number("partial_rotary_factor", 1);
  if (part !== 1 || (rope?.number("partial_rotary_factor", 1) ?? 1) !== 1)
    unsupported("partial_rotary_factor other than 1");
  if (rope === undefined) return { theta: outside, scaling: undefined };
  const type = rope.text("rope_type", rope.text("type", "default"));
  return { theta: rope.number("rope_theta", outside), scaling: decodeScaling(type, rope) };
}

function decodeScaling(type: string, rope: Config): RotaryScaling | undefined {
  switch (type) {
    case "default":
      return undefined;
    case "linear":
      return { kind: "linear", factor: rope.number("factor") };
    case "llama3":
      return {
        kind: "llama3",
        factor: rope.number("factor"),
        lowFrequencyFactor: rope.number("low_freq_factor"),
        highFrequencyFactor: rope.number("high_freq_factor"),
        originalContext: rope.number("original_max_position_embeddings"),
      };
    default:
      return unsupported(`rope type ${type}; this version runs default, linear and llama3`);
  }
}

function tokensOf(
  config: Config,
  begin: number,
  end: number,
): { beginToken: number; endTokens: number[] } {
  const named = config.value("eos_token_id") ?? end;
  const endTokens: unknown[] = Array.isArray(named) ? named : [named];
  if (!endTokens.every((token) => typeof token === "number"))
    throw configError("eos_token_id is no token");
  return { beginToken: config.number("bos_token_id", begin), endTokens: endTokens as number[] };
}

/** A JSON object whose values have the types that are asked for; null stands for absent. */
class Config {
  readonly #values: ReadonlyMap<string, unknown>;

  /** From the bytes of a file, or of an object in one. */
  constructor(from: Uint8Array | object) {
    this.#values = new Map(Object.entries(from instanceof Uint8Array ? parseConfig(from) : from));
  }

  value(key: string): unknown {
    return this.#values.get(key) ?? undefined;
  }

  number(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value !== "number" || Number.isNaN(value)) throw configError(`${key} is no number`);
    return value;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value !== "boolean") throw configError(`${key} is no boolean`);
    return value;
  }

  text(key: string, fallback: string): string {
    const value = this.value(key) ?? fallback;
    if (typeof value !== "string") throw configError(`${key} is no text`);
    return value;
  }

  list(key: string): readonly unknown[] {
    const value = this.value(key) ?? [];
    if (!Array.isArray(value)) throw configError(`${key} is no list`);
    return value;
  }

  record(key: string): Config | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw configError(`${key} is no object`);
    return new Config(value);
  }
}

function parseConfig(bytes: Uint8Array): object {
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
  return value;
}

function configError(what: string): DecodeError {
  return new DecodeError({ code: "config/decode", what, offset: 0 });
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
