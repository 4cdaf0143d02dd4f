// A small GGUF file made in memory, for the tests of its loader and their fuzzers.

import { concatBytes, utf8Bytes } from "gyrotron/base";
import { sampleFloats } from "../sample-files.ts";

/** A metadata value as the writer takes it: [type, value], type 8 text, 4 u32, 6 f32, 7 bool, `[8]` list of texts. */
export type MetadataEntry =
  | readonly [4 | 6, number]
  | readonly [7, boolean]
  | readonly [8, string]
  | readonly ["texts", readonly string[]]
  | readonly ["u32s" | "i32s", readonly number[]];

const LETTERS = ["a", "b", "c", "Ġ", "ab", "Ġab", "<s>", "</s>"];

/** Metadata of a Llama-type model of two layers with a byte-pair vocabulary of eight tokens. */
export function sampleMetadata(): Map<string, MetadataEntry> {
  return new Map<string, MetadataEntry>([
    ["general.architecture", [8, "llama"]],
    ["llama.block_count", [4, 2]],
    ["llama.context_length", [4, 32]],
    ["llama.embedding_length", [4, 32]],
    ["llama.feed_forward_length", [4, 64]],
    ["llama.attention.head_count", [4, 2]],
    ["llama.attention.head_count_kv", [4, 1]],
    ["llama.attention.layer_norm_rms_epsilon", [6, 1e-5]],
    ["tokenizer.ggml.model", [8, "gpt2"]],
    ["tokenizer.ggml.pre", [8, "gpt-2"]],
    ["tokenizer.ggml.tokens", ["texts", LETTERS]],
    ["tokenizer.ggml.token_type", ["u32s", [1, 1, 1, 1, 1, 1, 3, 3]]],
    ["tokenizer.ggml.merges", ["texts", ["a b", "Ġ ab"]]],
    ["tokenizer.ggml.bos_token_id", [4, 6]],
    ["tokenizer.ggml.eos_token_id", [4, 7]],
    ["tokenizer.ggml.add_bos_token", [7, false]],
    ["tokenizer.chat_template", [8, "<s>{% for m in messages %}{{ m.content }}{% endfor %}</s>"]],
  ]);
}

/** A tensor to write: shape with rows first. */
export interface SampleTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly format: number;
  readonly bytes: Uint8Array;
}

/** The tensors of the sample model in F32. */
export function sampleTensors(): SampleTensor[] {
  const f32 = (name: string, shape: readonly number[], i: number): SampleTensor => {
    const values = sampleFloats(
      shape.reduce((a, b) => a * b, 1),
      i + 1,
    );
    return { name: `${name}.weight`, shape, format: 0, bytes: new Uint8Array(values.buffer) };
  };
  const layer = (i: number): [string, number[]][] => [
    [`blk.${i}.attn_norm`, [32]],
    [`blk.${i}.attn_q`, [32, 32]],
    [`blk.${i}.attn_k`, [16, 32]],
    [`blk.${i}.attn_v`, [16, 32]],
    [`blk.${i}.attn_output`, [32, 32]],
    [`blk.${i}.ffn_norm`, [32]],
    [`blk.${i}.ffn_gate`, [64, 32]],
    [`blk.${i}.ffn_up`, [64, 32]],
    [`blk.${i}.ffn_down`, [32, 64]],
  ];
  const all: [string, number[]][] = [
    ["token_embd", [8, 32]],
    ...layer(0),
    ...layer(1),
    ["output_norm", [32]],
  ];
  return all.map(([name, shape], i) => f32(name, shape, i));
}

/** The same with the first layer's gate, up and value in levels: Q4_0, Q4_0 and Q4_1. */
export function sampleLevelTensors(): SampleTensor[] {
  const formats = new Map([
    ["blk.0.ffn_gate.weight", 2],
    ["blk.0.ffn_up.weight", 2],
    ["blk.0.attn_v.weight", 3],
  ]);
  return sampleTensors().map((tensor) => {
    const format = formats.get(tensor.name);
    if (format === undefined) return tensor;
    const blocks = tensor.bytes.length / 4 / 32;
    const blockBytes = format === 2 ? 18 : 20;
    const bytes = Uint8Array.from({ length: blocks * blockBytes }, (_, i) => (i * 197 + 7) & 255);
    const view = new DataView(bytes.buffer);
    for (let b = 0; b < blocks; b++) {
      // Steps between 2^-6 and 2^-5, every third below zero; lowest levels around -2^-2.
      const step = 0x2400 + ((b * 37) & 0x3ff) + (b % 3 === 0 ? 0x8000 : 0);
      view.setUint16(b * blockBytes, step, true);
      if (format === 3) view.setUint16(b * blockBytes + 2, 0xb300 + ((b * 41) & 0x1ff), true);
    }
    return { ...tensor, format, bytes };
  });
}

/** The bytes of a file. */
export function ggufFile(
  metadata: ReadonlyMap<string, MetadataEntry> = sampleMetadata(),
  tensors: readonly SampleTensor[] = sampleTensors(),
): Uint8Array {
  let offset = 0;
  const entries = tensors.map(({ name, shape, format, bytes }) => {
    const entry = concatBytes(
      text(name),
      u32(shape.length),
      ...shape.toReversed().map((n) => u64(n)),
      u32(format),
      u64(offset),
    );
    offset += aligned(bytes.length);
    return entry;
  });
  const head = concatBytes(
    u32(0x46554747),
    u32(3),
    u64(tensors.length),
    u64(metadata.size),
    ...Array.from(metadata, ([key, entry]) => concatBytes(text(key), value(entry))),
    ...entries,
  );
  const parts = [head, ...tensors.map(({ bytes }) => bytes)];
  return concatBytes(...parts.map((part) => padded(part)));
}

function value(entry: MetadataEntry): Uint8Array {
  switch (entry[0]) {
    case 4:
      return concatBytes(u32(4), u32(entry[1]));
    case 6:
      return concatBytes(u32(6), new Uint8Array(Float32Array.of(entry[1]).buffer));
    case 7:
      return concatBytes(u32(7), Uint8Array.of(entry[1] ? 1 : 0));
    case 8:
      return concatBytes(u32(8), text(entry[1]));
    case "texts":
      return concatBytes(u32(9), u32(8), u64(entry[1].length), ...entry[1].map(text));
    case "u32s":
    case "i32s":
      return concatBytes(
        u32(9),
        u32(entry[0] === "u32s" ? 4 : 5),
        u64(entry[1].length),
        ...entry[1].map(u32),
      );
  }
}

function text(content: string): Uint8Array {
  const bytes = utf8Bytes(content);
  return concatBytes(u64(bytes.length), bytes);
}

function u32(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

function u64(number: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(number)).buffer);
}

const aligned = (length: number): number => Math.ceil(length / 32) * 32;

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(aligned(bytes.length));
  result.set(bytes);
  return result;
}
