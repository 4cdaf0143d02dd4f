// The files of an encoder as Hugging Face stores them, written as one GGUF file in F32 the way llama.cpp's converter
// does it: for tests that hold both beside each other.

import { concatBytes, utf8Bytes } from "gyrotron/base";

/** Names of tensors without `.weight` and `.bias`; `*` is the number of a layer. */
const NAMES: readonly (readonly [string, string])[] = [
  ["embeddings.word_embeddings", "token_embd"],
  ["embeddings.position_embeddings", "position_embd"],
  ["embeddings.token_type_embeddings", "token_types"],
  ["embeddings.LayerNorm", "token_embd_norm"],
  ["encoder.layer.*.attention.self.query", "blk.*.attn_q"],
  ["encoder.layer.*.attention.self.key", "blk.*.attn_k"],
  ["encoder.layer.*.attention.self.value", "blk.*.attn_v"],
  ["encoder.layer.*.attention.output.dense", "blk.*.attn_output"],
  ["encoder.layer.*.attention.output.LayerNorm", "blk.*.attn_output_norm"],
  ["encoder.layer.*.intermediate.dense", "blk.*.ffn_up"],
  ["encoder.layer.*.output.dense", "blk.*.ffn_down"],
  ["encoder.layer.*.output.LayerNorm", "blk.*.layer_output_norm"],
];
const NAME_OF: ReadonlyMap<string, string> = new Map(NAMES);
const ALIGNMENT = 32;

interface Files {
  readonly config: Uint8Array;
  readonly tensors: Uint8Array;
  readonly tokenizer: Uint8Array;
}

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The bytes of the GGUF file, with pooling by mean. */
export function encoderGgufFile(files: Files): Uint8Array {
  const config = parse(files.config) as Record<string, number>;
  const tokenizer = parse(files.tokenizer) as {
    readonly model: { readonly vocab: Readonly<Record<string, number>> };
    readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  };
  const { vocab } = tokenizer.model;
  const special = new Map(tokenizer.added_tokens.map(({ id, content }) => [id, content]));
  const tokens: string[] = [];
  for (const [word, id] of Object.entries(vocab)) {
    const piece = word.startsWith("##") ? word.slice(2) : `\u2581${word}`;
    tokens[id] = special.get(id) ?? piece;
  }
  const metadata: [string, Uint8Array][] = [
    ["general.architecture", text("bert")],
    ["bert.block_count", number(config["num_hidden_layers"]!)],
    ["bert.context_length", number(config["max_position_embeddings"]!)],
    ["bert.embedding_length", number(config["hidden_size"]!)],
    ["bert.feed_forward_length", number(config["intermediate_size"]!)],
    ["bert.attention.head_count", number(config["num_attention_heads"]!)],
    ["bert.attention.layer_norm_epsilon", float(config["layer_norm_eps"]!)],
    ["bert.attention.causal", concatBytes(u32(7), Uint8Array.of(0))],
    ["bert.pooling_type", number(1)],
    ["tokenizer.ggml.model", text("bert")],
    ["tokenizer.ggml.tokens", texts(tokens)],
    ["tokenizer.ggml.token_type", numbers(tokens.map((_, id) => (special.has(id) ? 3 : 1)))],
    ["tokenizer.ggml.bos_token_id", number(vocab["[CLS]"]!)],
    ["tokenizer.ggml.seperator_token_id", number(vocab["[SEP]"]!)],
    ["tokenizer.ggml.unknown_token_id", number(vocab["[UNK]"]!)],
  ];
  return container(metadata, tensorsOf(files.tensors));
}

/** What takes part, in the other file's order. */
function tensorsOf(file: Uint8Array): Tensor[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 8 + view.getUint32(0, true);
  const header = parse(file.subarray(8, start)) as Record<
    string,
    { readonly shape: readonly number[]; readonly data_offsets: readonly [number, number] }
  >;
  return Object.entries(header).flatMap(([name, entry]) => {
    const [, stem = "", layer = "", rest = "", kind = ""] =
      /^(\D*?)(\d*)(\D*)\.(weight|bias)$/.exec(name) ?? [];
    const known = NAME_OF.get(layer === "" ? `${stem}${rest}` : `${stem}*${rest}`);
    if (known === undefined) return [];
    const [from, to] = entry.data_offsets;
    const bytes = file.subarray(start + from, start + to);
    return [{ name: `${known.replace("*", layer)}.${kind}`, shape: entry.shape, bytes }];
  });
}

function container(
  metadata: readonly (readonly [string, Uint8Array])[],
  tensors: readonly Tensor[],
): Uint8Array {
  let offset = 0;
  const entries = tensors.map(({ name, shape, bytes }) => {
    const sizes = shape.toReversed().map(u64);
    const entry = concatBytes(plain(name), u32(shape.length), ...sizes, u32(0), u64(offset));
    offset += padded(bytes).length;
    return entry;
  });
  const head = concatBytes(
    utf8Bytes("GGUF"),
    ...[u32(3), u64(tensors.length), u64(metadata.length)],
    ...metadata.map(([key, value]) => concatBytes(plain(key), value)),
    ...entries,
  );
  return concatBytes(padded(head), ...tensors.map(({ bytes }) => padded(bytes)));
}

const number = (value: number): Uint8Array => concatBytes(u32(4), u32(value));
const float = (value: number): Uint8Array =>
  concatBytes(u32(6), new Uint8Array(Float32Array.of(value).buffer));
const text = (content: string): Uint8Array => concatBytes(u32(8), plain(content));
const texts = (all: readonly string[]): Uint8Array =>
  concatBytes(u32(9), u32(8), u64(all.length), ...all.map(plain));
const numbers = (all: readonly number[]): Uint8Array =>
  concatBytes(u32(9), u32(5), u64(all.length), ...all.map(u32));

function plain(content: string): Uint8Array {
  const bytes = utf8Bytes(content);
  return concatBytes(u64(bytes.length), bytes);
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function u64(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT);
  result.set(bytes);
  return result;
}

function parse(json: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(json));
}
