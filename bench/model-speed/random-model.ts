// A model of random numbers in the shape of SmolLM2-135M, as a GGUF file in Q8_0: for speed, where the real
// one is not at hand. Its vocabulary has as many tokens; what it writes means nothing.

import { existsSync, renameSync, writeFileSync } from "node:fs";
import {
  ggufFile,
  type MetadataEntry,
  type SampleTensor,
} from "../../src/model/gguf/sample-gguf.ts";

const WIDTH = 576;
const HIDDEN = 1536;
const LAYERS = 30;
const KEYS = 192;
const VOCABULARY = 49152;
const Q8_0 = 8;
const F32 = 0;
/** 32 mantissas and an f16 scale of 2^-10. */
const BLOCK_BYTES = 34;
const SCALE_BITS = 0x1400;

/** Writes the file unless it is there. */
export function writeRandomModel(path: string): void {
  if (existsSync(path)) return;
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, ggufFile(metadata(), tensors()));
  renameSync(draft, path);
}

function metadata(): Map<string, MetadataEntry> {
  // The characters that stand for bytes, so that any text has tokens.
  const bytes = Array.from({ length: 256 }, (_, i) => i);
  const isPlain = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const plain = bytes.filter(isPlain);
  const others = bytes.filter((byte) => !isPlain(byte)).map((_, i) => 256 + i);
  const letters = [...plain, ...others].map((code) => String.fromCodePoint(code));
  const tokens = ["<|begin|>", "<|end|>", ...letters];
  while (tokens.length < VOCABULARY) tokens.push(`Ġ${tokens.length}`);
  return new Map<string, MetadataEntry>([
    ["general.architecture", [8, "llama"]],
    ["general.name", [8, "random"]],
    ["llama.block_count", [4, LAYERS]],
    ["llama.context_length", [4, 2048]],
    ["llama.embedding_length", [4, WIDTH]],
    ["llama.feed_forward_length", [4, HIDDEN]],
    ["llama.attention.head_count", [4, 9]],
    ["llama.attention.head_count_kv", [4, 3]],
    ["llama.rope.dimension_count", [4, 64]],
    ["llama.rope.freq_base", [6, 100000]],
    ["llama.vocab_size", [4, VOCABULARY]],
    ["llama.attention.layer_norm_rms_epsilon", [6, 1e-5]],
    ["tokenizer.ggml.model", [8, "gpt2"]],
    ["tokenizer.ggml.pre", [8, "gpt-2"]],
    ["tokenizer.ggml.tokens", ["texts", tokens]],
    ["tokenizer.ggml.token_type", ["i32s", tokens.map((_, i) => (i < 2 ? 3 : 1))]],
    ["tokenizer.ggml.merges", ["texts", ["Ġ 1", "Ġ 2"]]],
    ["tokenizer.ggml.bos_token_id", [4, 0]],
    ["tokenizer.ggml.eos_token_id", [4, 1]],
    ["tokenizer.ggml.add_bos_token", [7, false]],
  ]);
}

function tensors(): SampleTensor[] {
  const random = createRandom();
  const matrix = (name: string, rows: number, columns: number): SampleTensor => ({
    name: `${name}.weight`,
    shape: [rows, columns],
    format: Q8_0,
    bytes: blocks(rows * columns, random),
  });
  const gain = (name: string): SampleTensor => ({
    name: `${name}.weight`,
    shape: [WIDTH],
    format: F32,
    bytes: new Uint8Array(new Float32Array(WIDTH).fill(1).buffer),
  });
  const layer = (i: number): SampleTensor[] => [
    gain(`blk.${i}.attn_norm`),
    matrix(`blk.${i}.attn_q`, WIDTH, WIDTH),
    matrix(`blk.${i}.attn_k`, KEYS, WIDTH),
    matrix(`blk.${i}.attn_v`, KEYS, WIDTH),
    matrix(`blk.${i}.attn_output`, WIDTH, WIDTH),
    gain(`blk.${i}.ffn_norm`),
    matrix(`blk.${i}.ffn_gate`, HIDDEN, WIDTH),
    matrix(`blk.${i}.ffn_up`, HIDDEN, WIDTH),
    matrix(`blk.${i}.ffn_down`, WIDTH, HIDDEN),
  ];
  return [
    matrix("token_embd", VOCABULARY, WIDTH),
    ...Array.from({ length: LAYERS }, (_, i) => layer(i)).flat(),
    gain("output_norm"),
  ];
}

function blocks(count: number, random: () => number): Uint8Array {
  const bytes = new Uint8Array((count / 32) * BLOCK_BYTES);
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    bytes[at] = SCALE_BITS & 255;
    bytes[at + 1] = SCALE_BITS >> 8;
    for (let i = 2; i < BLOCK_BYTES; i++) bytes[at + i] = random();
  }
  return bytes;
}

/** Bytes of a linear congruential generator, the same in every run; as mantissas -64..63. */
function createRandom(): () => number {
  let state = 12345;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >> 24) >> 1) & 255;
  };
}
