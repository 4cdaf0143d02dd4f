// A small random encoder of BERT's kind as a GGUF file and as the files of Hugging Face, for the tests of both
// loaders and their fuzzers.

import { utf8Bytes } from "gyrotron/base";
import type { EncoderFiles } from "../encoder/hugging-face-encoder.ts";
import { safetensorsFile, sampleFloats } from "../sample-files.ts";
import { ggufFile, type MetadataEntry, type SampleTensor } from "./sample-gguf.ts";

const WIDTH = 32;
const HIDDEN = 64;
const LAYERS = 2;
const CONTEXT = 16;
const EPSILON = 1e-12;

/** BERT's own spelling. */
export const WORDS: readonly string[] = [
  ...["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
  ...["the", "cat", "sat", "##s", "mat", "a", "dog", "[", "]", "##[", "e", "##e", "東", "."],
];
const SPECIAL = new Set(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);

/** Metadata as today's converters write it. */
export function encoderMetadata(): Map<string, MetadataEntry> {
  const tokens = WORDS.map((word) => {
    if (SPECIAL.has(word)) return word;
    return word.startsWith("##") ? word.slice(2) : `\u2581${word}`;
  });
  return new Map<string, MetadataEntry>([
    ["general.architecture", [8, "bert"]],
    ["bert.block_count", [4, LAYERS]],
    ["bert.context_length", [4, CONTEXT]],
    ["bert.embedding_length", [4, WIDTH]],
    ["bert.feed_forward_length", [4, HIDDEN]],
    ["bert.attention.head_count", [4, 2]],
    ["bert.attention.layer_norm_epsilon", [6, EPSILON]],
    ["bert.attention.causal", [7, false]],
    ["bert.pooling_type", [4, 1]],
    ["tokenizer.ggml.token_type_count", [4, 2]],
    ["tokenizer.ggml.model", [8, "bert"]],
    ["tokenizer.ggml.tokens", ["texts", tokens]],
    ["tokenizer.ggml.token_type", ["i32s", WORDS.map((word) => (SPECIAL.has(word) ? 3 : 1))]],
    ["tokenizer.ggml.bos_token_id", [4, WORDS.indexOf("[CLS]")]],
    ["tokenizer.ggml.seperator_token_id", [4, WORDS.indexOf("[SEP]")]],
    ["tokenizer.ggml.unknown_token_id", [4, WORDS.indexOf("[UNK]")]],
    ["tokenizer.ggml.padding_token_id", [4, WORDS.indexOf("[PAD]")]],
    ["tokenizer.ggml.mask_token_id", [4, WORDS.indexOf("[MASK]")]],
  ]);
}

/** Names in both kinds of file, and shapes. */
function names(): [gguf: string, hub: string, shape: number[]][] {
  const linear = (
    gguf: string,
    hub: string,
    outputs: number,
    inputs: number,
  ): ReturnType<typeof names> => [
    [`${gguf}.weight`, `${hub}.weight`, [outputs, inputs]],
    [`${gguf}.bias`, `${hub}.bias`, [outputs]],
  ];
  const norm = (gguf: string, hub: string): ReturnType<typeof names> => [
    [`${gguf}.weight`, `${hub}.LayerNorm.weight`, [WIDTH]],
    [`${gguf}.bias`, `${hub}.LayerNorm.bias`, [WIDTH]],
  ];
  const layers = Array.from({ length: LAYERS }, (_, i) => {
    const [at, hub] = [`blk.${i}`, `encoder.layer.${i}`];
    return [
      ...linear(`${at}.attn_q`, `${hub}.attention.self.query`, WIDTH, WIDTH),
      ...linear(`${at}.attn_k`, `${hub}.attention.self.key`, WIDTH, WIDTH),
      ...linear(`${at}.attn_v`, `${hub}.attention.self.value`, WIDTH, WIDTH),
      ...linear(`${at}.attn_output`, `${hub}.attention.output.dense`, WIDTH, WIDTH),
      ...norm(`${at}.attn_output_norm`, `${hub}.attention.output`),
      ...linear(`${at}.ffn_up`, `${hub}.intermediate.dense`, HIDDEN, WIDTH),
      ...linear(`${at}.ffn_down`, `${hub}.output.dense`, WIDTH, HIDDEN),
      ...norm(`${at}.layer_output_norm`, `${hub}.output`),
    ];
  });
  return [
    ["token_embd.weight", "embeddings.word_embeddings.weight", [WORDS.length, WIDTH]],
    ["position_embd.weight", "embeddings.position_embeddings.weight", [CONTEXT, WIDTH]],
    ["token_types.weight", "embeddings.token_type_embeddings.weight", [2, WIDTH]],
    ...norm("token_embd_norm", "embeddings"),
    ...layers.flat(),
  ];
}

function valuesOf(shape: readonly number[], stream: number): Float32Array {
  return sampleFloats(
    shape.reduce((count, n) => count * n, 1),
    stream + 1,
  );
}

/** The tensors in F32. */
export function encoderTensors(): SampleTensor[] {
  return names().map(([name, , shape], i) => {
    const { buffer } = valuesOf(shape, i);
    return { name, shape, format: 0, bytes: new Uint8Array(buffer) };
  });
}

/** The bytes of a GGUF file. */
export function encoderGguf(
  metadata: ReadonlyMap<string, MetadataEntry> = encoderMetadata(),
  tensors: readonly SampleTensor[] = encoderTensors(),
): Uint8Array {
  return ggufFile(metadata, tensors);
}

/** The same encoder as Hugging Face stores it. */
export function encoderHubFiles(): EncoderFiles {
  const config = {
    ...{ model_type: "bert", hidden_size: WIDTH, intermediate_size: HIDDEN },
    ...{ num_hidden_layers: LAYERS, num_attention_heads: 2, vocab_size: WORDS.length },
    ...{ max_position_embeddings: CONTEXT, type_vocab_size: 2, layer_norm_eps: EPSILON },
  };
  const tensors = new Map(
    names().map(([, name, shape], i) => [name, { shape, values: valuesOf(shape, i) }]),
  );
  return { config: utf8Bytes(JSON.stringify(config)), tensors: safetensorsFile(tensors) };
}

/** Its tokenizer.json, as BERT's are. */
export function encoderHubTokenizer(): Uint8Array {
  const idOf = (name: string): number => WORDS.indexOf(name);
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = [...SPECIAL].map((content) => ({
    id: idOf(content),
    special: true,
    content,
    ...plain,
  }));
  const frame = (name: string): unknown => ({ SpecialToken: { id: name, type_id: 0 } });
  const entry = (name: string): unknown => ({ id: name, ids: [idOf(name)], tokens: [name] });
  const single = [frame("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, frame("[SEP]")];
  const file = {
    version: "1.0",
    added_tokens: added,
    normalizer: {
      ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true },
      ...{ strip_accents: null, lowercase: true },
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      ...{ type: "TemplateProcessing", single, pair: single },
      special_tokens: { "[CLS]": entry("[CLS]"), "[SEP]": entry("[SEP]") },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      ...{ type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##" },
      ...{ max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
    },
  };
  return utf8Bytes(JSON.stringify(file));
}
