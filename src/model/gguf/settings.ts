// What the metadata of a GGUF file says of a decoder: architecture, sizes, norms, rotation. What this version does
// not compute is refused by name.

import type { RotaryScaling } from "gyrotron/numerics";
import { DECODER_LIMITS, GPT2_DESIGN, LLAMA_DESIGN } from "gyrotron/tensor";
import { ModelError } from "../error.ts";
import { checkSettings, type ModelSettings } from "../model-source.ts";
import type { GgufHeader, GgufValue } from "./container.ts";

type Metadata = GgufHeader["metadata"];

/** Architectures, and whether the rows of Q and K are in the order of neighbouring pairs. */
const ARCHITECTURES: ReadonlyMap<string, { isInterleaved: boolean }> = new Map([
  ["llama", { isInterleaved: true }],
  ["qwen2", { isInterleaved: false }],
  ["qwen3", { isInterleaved: false }],
  ["gpt2", { isInterleaved: false }],
]);

/** Settings, and the architecture by which tensors are named. */
export interface GgufSettings {
  readonly settings: ModelSettings;
  readonly architecture: string;
}

/** `divisors` are those of the tensor `rope_freqs`. @throws ModelError `model/unsupported`, `model/limit` */
export function decodeGgufSettings(
  { metadata, tensors }: GgufHeader,
  divisors: Float32Array | undefined,
): GgufSettings {
  const architecture = metadata.get("general.architecture");
  const known = typeof architecture === "string" ? ARCHITECTURES.get(architecture) : undefined;
  if (typeof architecture !== "string" || known === undefined) {
    if (architecture === "bert")
      unsupported("general.architecture bert as a writer of text; `embed` runs it");
    const runs = [...ARCHITECTURES.keys()].join(", ");
    unsupported(`general.architecture ${printed(architecture)}; this version runs ${runs}`);
  }
  const number = (key: string, fallback?: number): number => {
    const value = metadata.get(`${architecture}.${key}`) ?? fallback;
    if (typeof value !== "number") unsupported(`${architecture}.${key} is ${printed(value)}`);
    return value;
  };
  const isGpt2 = architecture === "gpt2";
  if (number("expert_count", 0) !== 0) unsupported("experts");
  const width = number("embedding_length");
  const heads = number("attention.head_count");
  const headSize = number("attention.key_length", width / heads);
  if (number("attention.value_length", headSize) !== headSize)
    unsupported("keys and values of different sizes");
  if (!isGpt2 && number("rope.dimension_count", headSize) !== headSize)
    unsupported("rotation of a part of each head");
  const scaling = decodeScaling(metadata, architecture, divisors);
  const window = number("attention.sliding_window", DECODER_LIMITS.context);
  const settings: ModelSettings = {
    shape: {
      width,
      hidden: number("feed_forward_length"),
      layers: number("block_count"),
      heads,
      kvHeads: number("attention.head_count_kv", heads),
      headSize,
      vocabulary: tensors.get("token_embd.weight")?.shape[1] ?? number("vocab_size"),
      // Within a sliding window nothing is hidden.
      context: Math.min(number("context_length"), DECODER_LIMITS.context, window),
    },
    design: isGpt2 ? GPT2_DESIGN : LLAMA_DESIGN,
    epsilon: number(isGpt2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"),
    rotaryTheta: number("rope.freq_base", 10000),
    ...(scaling !== undefined && { rotaryScaling: scaling }),
    rotaryInterleaved: known.isInterleaved,
    beginToken: beginToken(metadata),
    endTokens: endTokens(metadata),
  };
  checkSettings(settings);
  return { settings, architecture };
}

function decodeScaling(
  metadata: Metadata,
  architecture: string,
  divisors: Float32Array | undefined,
): RotaryScaling | undefined {
  const type = metadata.get(`${architecture}.rope.scaling.type`) ?? "none";
  const factor = metadata.get(`${architecture}.rope.scaling.factor`) ?? 1;
  if (type === "none") return divisors === undefined ? undefined : { kind: "divisors", divisors };
  if (type !== "linear" || typeof factor !== "number" || divisors !== undefined)
    unsupported(`${architecture}.rope.scaling.type ${printed(type)}`);
  return { kind: "linear", factor };
}

/** The begin of a text, or its end where the file names no begin. */
function beginToken(metadata: Metadata): number {
  const named = ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"].map((key) =>
    metadata.get(key),
  );
  return named.find((token) => typeof token === "number") ?? 1;
}

/** The end of a text, and of a turn where the file names one. */
function endTokens(metadata: Metadata): number[] {
  const named = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"].map((key) =>
    metadata.get(key),
  );
  const found = named.filter((token) => typeof token === "number");
  return found.length > 0 ? [...new Set(found)] : [2];
}

function printed(value: GgufValue | undefined): string {
  return value === undefined ? "missing" : String(value).slice(0, 60);
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
