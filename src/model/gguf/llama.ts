// A Llama-type model from a GGUF file: settings from the metadata, tensors on demand.

import { DECODER_LIMITS } from "gyrotron/tensor";
import type { ByteSource } from "../byte-source.ts";
import { ModelError } from "../error.ts";
import {
  checkSettings,
  type ModelSettings,
  type ModelSource,
  type SourceLayer,
} from "../model-source.ts";
import type { GgufHeader, GgufValue } from "./container.ts";
import { GgufTensors } from "./tensor-reader.ts";

/** @throws DecodeError, ModelError on a file that is damaged or that this version cannot run */
export function decodeGgufModel(file: ByteSource, header: GgufHeader): ModelSource {
  const settings = decodeSettings(header);
  const tensors = new GgufTensors(file, header);
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary } = settings.shape;
  const attended = heads * headSize;
  const keys = kvHeads * headSize;
  const readLayer = (i: number): SourceLayer => {
    const expect = (name: string, shape: readonly number[]): (() => Float32Array) =>
      tensors.expect(`blk.${i}.${name}.weight`, shape);
    const attentionGain = expect("attn_norm", [width]);
    const query = expect("attn_q", [attended, width]);
    const key = expect("attn_k", [keys, width]);
    const value = expect("attn_v", [keys, width]);
    const attentionOutput = expect("attn_output", [width, attended]);
    const feedForwardGain = expect("ffn_norm", [width]);
    const gate = expect("ffn_gate", [hidden, width]);
    const up = expect("ffn_up", [hidden, width]);
    const down = expect("ffn_down", [width, hidden]);
    return {
      get attentionGain() {
        return attentionGain();
      },
      get query() {
        return query();
      },
      get key() {
        return key();
      },
      get value() {
        return value();
      },
      get attentionOutput() {
        return attentionOutput();
      },
      get feedForwardGain() {
        return feedForwardGain();
      },
      get gate() {
        return gate();
      },
      get up() {
        return up();
      },
      get down() {
        return down();
      },
    };
  };
  const embedding = tensors.expectRows("token_embd.weight", { vocabulary, width });
  const finalGain = tensors.expect("output_norm.weight", [width]);
  const classifier = tensors.has("output.weight")
    ? tensors.expect("output.weight", [vocabulary, width])
    : undefined;
  const source: ModelSource = {
    ...settings,
    layers: Array.from({ length: layers }, (_, i) => readLayer(i)),
    embedding,
    get finalGain() {
      return finalGain();
    },
    get classifier() {
      return classifier?.();
    },
  };
  tensors.finish();
  return source;
}

function decodeSettings({ metadata, tensors }: GgufHeader): ModelSettings {
  const architecture = metadata.get("general.architecture");
  if (architecture !== "llama")
    unsupported(`general.architecture ${printed(architecture)}; this version runs llama`);
  const number = (key: string, fallback?: number): number => {
    const value = metadata.get(key) ?? fallback;
    if (typeof value !== "number") unsupported(`${key} is ${printed(value)}`);
    return value;
  };
  if (
    metadata.get("llama.rope.scaling.type") !== undefined &&
    metadata.get("llama.rope.scaling.type") !== "none"
  )
    unsupported(`llama.rope.scaling.type ${printed(metadata.get("llama.rope.scaling.type"))}`);
  if (number("llama.expert_count", 0) !== 0) unsupported("experts");
  const width = number("llama.embedding_length");
  const heads = number("llama.attention.head_count");
  const headSize = number("llama.attention.key_length", width / heads);
  if (number("llama.attention.value_length", headSize) !== headSize)
    unsupported("keys and values of different sizes");
  if (number("llama.rope.dimension_count", headSize) !== headSize)
    unsupported("rotation of a part of each head");
  const vocabulary = tensors.get("token_embd.weight")?.shape[1];
  const settings: ModelSettings = {
    shape: {
      width,
      hidden: number("llama.feed_forward_length"),
      layers: number("llama.block_count"),
      heads,
      kvHeads: number("llama.attention.head_count_kv", heads),
      headSize,
      vocabulary: vocabulary ?? number("llama.vocab_size"),
      context: Math.min(number("llama.context_length"), DECODER_LIMITS.context),
    },
    epsilon: number("llama.attention.layer_norm_rms_epsilon"),
    rotaryTheta: number("llama.rope.freq_base", 10000),
    // Files of this architecture have the rows of Q and K reordered for neighbouring pairs.
    rotaryInterleaved: true,
    beginToken: number("tokenizer.ggml.bos_token_id", 1),
    endTokens: endTokens(metadata),
  };
  checkSettings(settings);
  return settings;
}

/** The end of a text, and of a turn where the file names one. */
function endTokens(metadata: GgufHeader["metadata"]): number[] {
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
