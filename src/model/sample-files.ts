// Small model files made in memory, for the tests of loaders and their fuzzers.

import { concatBytes, utf8Bytes } from "gyrotron/base";
import { threefry } from "gyrotron/numerics";

/** Sizes of the sample: every dimension differs, so that a mix-up of two shows. */
const SAMPLE = {
  width: 12,
  hidden: 20,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  headSize: 6,
  vocabulary: 262,
  context: 32,
};

/** Small numbers drawn by index. */
export function sampleFloats(count: number, stream: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const [draw] = threefry([stream, 0], [i, 0]);
    // Eight bits of mantissa: exact in all stored types.
    return ((draw & 255) - 128) / 512;
  });
}

/** A llama2.c checkpoint. */
export function llama2cFile(
  options: { ownClassifier: boolean } = { ownClassifier: false },
): Uint8Array {
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary, context } = SAMPLE;
  const signed = options.ownClassifier ? -vocabulary : vocabulary;
  const header = Int32Array.of(width, hidden, layers, heads, kvHeads, signed, context);
  const keys = kvHeads * headSize;
  const perLayer = 2 * width + 2 * width * width + 2 * keys * width + 3 * hidden * width;
  const classifier = options.ownClassifier ? vocabulary * width : 0;
  const count = vocabulary * width + layers * perLayer + width + context * headSize + classifier;
  return concatBytes(bytesOf(header), bytesOf(sampleFloats(count, 1)));
}

/** Tensors of a Hugging Face model by name: shape and values. */
export function huggingFaceTensors(): Map<string, { shape: number[]; values: Float32Array }> {
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary } = SAMPLE;
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, ...shape: number[]): void => {
    const count = shape.reduce((product, n) => product * n, 1);
    tensors.set(name, { shape, values: sampleFloats(count, tensors.size) });
  };
  add("model.embed_tokens.weight", vocabulary, width);
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    add(`${at}.input_layernorm.weight`, width);
    add(`${at}.self_attn.q_proj.weight`, heads * headSize, width);
    add(`${at}.self_attn.k_proj.weight`, kvHeads * headSize, width);
    add(`${at}.self_attn.v_proj.weight`, kvHeads * headSize, width);
    add(`${at}.self_attn.o_proj.weight`, width, heads * headSize);
    add(`${at}.post_attention_layernorm.weight`, width);
    add(`${at}.mlp.gate_proj.weight`, hidden, width);
    add(`${at}.mlp.up_proj.weight`, hidden, width);
    add(`${at}.mlp.down_proj.weight`, width, hidden);
  }
  add("model.norm.weight", width);
  return tensors;
}

/** A config.json, with changes. */
export function configFile(changes: Readonly<Record<string, unknown>> = {}): Uint8Array {
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary, context } = SAMPLE;
  const config = {
    hidden_size: width,
    intermediate_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headSize,
    vocab_size: vocabulary,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    rope_interleaved: true,
    tie_word_embeddings: true,
    bos_token_id: 1,
    eos_token_id: 2,
    ...changes,
  };
  return utf8Bytes(JSON.stringify(config));
}

/** A safetensors file of float tensors. */
export function safetensorsFile(
  tensors: ReadonlyMap<string, { shape: number[]; values: Float32Array }>,
  type: "F32" | "F16" | "BF16" = "F32",
): Uint8Array {
  const entries: [string, unknown][] = [["__metadata__", { format: "pt" }]];
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of tensors) {
    const bytes = encodeFloats(values, type);
    entries.push([name, { dtype: type, shape, data_offsets: [offset, offset + bytes.length] }]);
    parts.push(bytes);
    offset += bytes.length;
  }
  return containerFile(Object.fromEntries(entries), concatBytes(...parts));
}

/** A safetensors file with any header. */
export function containerFile(header: unknown, data: Uint8Array): Uint8Array {
  const text = utf8Bytes(typeof header === "string" ? header : JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setUint32(0, text.length, true);
  return concatBytes(length, text, data);
}

/** A tokenizer file of the byte pieces and some more, scored by rank. */
export function tokenizerFile(pieces: readonly string[]): Uint8Array {
  const names = ["<unk>", "\n<s>\n", "\n</s>\n"];
  for (let byte = 0; byte < 256; byte++) {
    names.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  }
  const entries = [...names, ...pieces].flatMap((name, i) => {
    const bytes = utf8Bytes(name);
    const score = i < names.length ? 0 : names.length - i - 1;
    return [bytesOf(Float32Array.of(score)), bytesOf(Int32Array.of(bytes.length)), bytes];
  });
  return concatBytes(bytesOf(Int32Array.of(64)), ...entries);
}

function encodeFloats(values: Float32Array, type: "F32" | "F16" | "BF16"): Uint8Array {
  if (type === "F32") return bytesOf(values);
  const view = new DataView(new ArrayBuffer(values.length * 2));
  values.forEach((value, i) => {
    if (type === "F16") view.setFloat16(i * 2, value, true);
    else {
      const wide = new DataView(new ArrayBuffer(4));
      wide.setFloat32(0, value);
      view.setUint16(i * 2, wide.getUint16(0), true);
    }
  });
  return new Uint8Array(view.buffer);
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
