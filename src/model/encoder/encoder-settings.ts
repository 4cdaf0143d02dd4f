// What the JSON files beside an encoder's tensors say: config.json of the transformer, and modules.json,
// 1_Pooling/config.json and sentence_bert_config.json of those who made an embedder of it.

import { DecodeError, utf8Text } from "gyrotron/base";
import { ModelError } from "../error.ts";
import {
  checkEncoder,
  ENCODER_LIMITS,
  type EncoderActivation,
  type EncoderSettings,
  type Pooling,
} from "./encoder-source.ts";

/** The files; those of the embedder may be missing. */
export interface EncoderConfigFiles {
  readonly config: Uint8Array;
  /** modules.json. Without it tokens are averaged and vectors scaled to length 1. */
  readonly modules?: Uint8Array | undefined;
  /** 1_Pooling/config.json. */
  readonly pooling?: Uint8Array | undefined;
  /** sentence_bert_config.json: how long texts may be. */
  readonly sentence?: Uint8Array | undefined;
}

/** Settings, and the sizes of tables that a model need not use whole. */
export interface EncoderConfig {
  readonly settings: EncoderSettings;
  /** Rows of the table of positions. */
  readonly positions: number;
  /** Rows of the table of segments. */
  readonly segments: number;
}

const JSON_BYTES_MAX = 65536;

const ACTIVATIONS: ReadonlyMap<unknown, EncoderActivation> = new Map([
  ["gelu", "gelu"],
  ["gelu_new", "gelu-tanh"],
  ["gelu_pytorch_tanh", "gelu-tanh"],
  ["relu", "relu"],
]);

/** @throws DecodeError `config/decode`, ModelError `model/unsupported`, `model/limit` */
export function decodeEncoderConfig(files: EncoderConfigFiles): EncoderConfig {
  const config = parseFields(files.config, "config.json");
  const field = (key: string, fallback: unknown): unknown => config.get(key) ?? fallback;
  const type = field("model_type", "nothing");
  if (type !== "bert") unsupported(`model_type ${shown(type)} as an encoder`);
  const placing = field("position_embedding_type", "absolute");
  if (placing !== "absolute") unsupported(`position_embedding_type ${shown(placing)}`);
  for (const key of ["is_decoder", "add_cross_attention"]) {
    if (field(key, false) !== false) unsupported(key);
  }
  const act = field("hidden_act", "gelu");
  const activation = ACTIVATIONS.get(act) ?? unsupported(`hidden_act ${shown(act)}`);
  const size = (key: string): number => sizeIn(config, key, "config.json");
  const epsilon = field("layer_norm_eps", 1e-12);
  if (typeof epsilon !== "number") throw configError("config.json", "layer_norm_eps is no number");
  const positions = size("max_position_embeddings");
  const settings: EncoderSettings = {
    shape: {
      width: size("hidden_size"),
      hidden: size("intermediate_size"),
      layers: size("num_hidden_layers"),
      heads: size("num_attention_heads"),
      vocabulary: size("vocab_size"),
      context: Math.min(positions, textTokensMax(files.sentence), ENCODER_LIMITS.context),
    },
    epsilon: Math.fround(epsilon),
    activation,
    pooling: decodePooling(files.pooling),
    normalizes: decodeModules(files.modules),
  };
  checkEncoder(settings);
  const segments = config.has("type_vocab_size") ? size("type_vocab_size") : 2;
  return { settings, positions, segments };
}

/** Whether vectors are scaled to length 1. */
function decodeModules(bytes: Uint8Array | undefined): boolean {
  const file = "modules.json";
  if (bytes === undefined) return true;
  const modules = parseJson(bytes, file);
  if (!Array.isArray(modules)) throw configError(file, "no list");
  let normalizes = false;
  for (const module of modules as unknown[]) {
    const type = isRecord(module) ? module["type"] : undefined;
    if (typeof type !== "string") throw configError(file, "a module without a type");
    const name = type.slice(type.lastIndexOf(".") + 1);
    if (name === "Normalize") normalizes = true;
    else if (name !== "Transformer" && name !== "Pooling") unsupported(`module ${shown(name)}`);
  }
  return normalizes;
}

function decodePooling(bytes: Uint8Array | undefined): Pooling {
  if (bytes === undefined) return "mean";
  const fields = parseFields(bytes, "1_Pooling/config.json");
  const modes = [...fields]
    .filter(([key, value]) => key.startsWith("pooling_mode_") && value === true)
    .map(([key]) => key.slice("pooling_mode_".length));
  if (modes.length === 1 && modes[0] === "mean_tokens") return "mean";
  if (modes.length === 1 && modes[0] === "cls_token") return "first";
  return unsupported(`pooling by ${modes.length === 0 ? "nothing" : shown(modes.join(" and "))}`);
}

function textTokensMax(bytes: Uint8Array | undefined): number {
  const file = "sentence_bert_config.json";
  if (bytes === undefined) return ENCODER_LIMITS.context;
  const fields = parseFields(bytes, file);
  const key = "max_seq_length";
  return (fields.get(key) ?? null) === null ? ENCODER_LIMITS.context : sizeIn(fields, key, file);
}

function sizeIn(fields: ReadonlyMap<string, unknown>, key: string, file: string): number {
  const value = fields.get(key);
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw configError(file, `${key} is no size`);
}

function parseFields(bytes: Uint8Array, file: string): Map<string, unknown> {
  const value = parseJson(bytes, file);
  if (!isRecord(value)) throw configError(file, "no object");
  return new Map(Object.entries(value));
}

function parseJson(bytes: Uint8Array, file: string): unknown {
  if (bytes.length > JSON_BYTES_MAX) throw configError(file, "too long");
  const text = utf8Text(bytes);
  if (text === undefined) throw configError(file, "not UTF-8");
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw configError(file, "not JSON");
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a file says, short enough for an error. */
function shown(value: unknown): string {
  return (typeof value === "string" ? value : typeof value).slice(0, 64);
}

function configError(file: string, what: string): DecodeError {
  return new DecodeError({ code: "config/decode", what: `${file}: ${what}`, offset: 0 });
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
