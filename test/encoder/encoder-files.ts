// Files of a small random encoder of BERT's kind, as Hugging Face stores them, and the tokenizer that fits: for
// tests of loaders, vectors and the command line.

import { utf8Bytes } from "gyrotron/base";
import type { EncoderFiles } from "gyrotron/model";
import { threefry } from "gyrotron/numerics";

/** Every size differs, so that a mix-up of two shows. */
export const WIDTH: number = 12;
const HIDDEN = 20;
const HEADS = 2;
const POSITIONS = 14;
export const CONTEXT: number = 9;
const LAYERS = 2;

export const WORDS: readonly string[] = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "the",
  "cat",
  "sat",
  "##s",
  "mat",
  "a",
  "dog",
];
const CONFIG = {
  model_type: "bert",
  hidden_size: WIDTH,
  intermediate_size: HIDDEN,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS,
  vocab_size: WORDS.length,
  max_position_embeddings: POSITIONS,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  hidden_act: "gelu",
};
/** How files differ from the sample. */
export interface Changes {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly pooling?: Readonly<Record<string, unknown>>;
  readonly modules?: readonly string[];
  readonly sentence?: Readonly<Record<string, unknown>>;
  readonly rename?: (name: string) => string;
  readonly extra?: ReadonlyMap<string, readonly number[]>;
}

/** Files of the sample, with changes. */
export function encoderFiles(changes: Changes = {}): EncoderFiles {
  const { config, pooling, modules, rename = (name) => name, extra = new Map() } = changes;
  const json = (value: unknown): Uint8Array => utf8Bytes(JSON.stringify(value));
  const types = modules?.map((type) => ({ type: `sentence_transformers.models.${type}` }));
  // A smaller vocabulary is the only size for which there are tensors of their own.
  const rows = config?.["vocab_size"] === 10 ? 10 : WORDS.length;
  const shapes = [...tensorShapes(rows), ...extra];
  return {
    config: json({ ...CONFIG, ...config }),
    pooling: pooling && json(pooling),
    modules: types && json(types),
    sentence: json(changes.sentence ?? { max_seq_length: CONTEXT }),
    tensors: safetensors(shapes.map(([name, shape]) => [rename(name), shape])),
  };
}

function tensorShapes(rows: number): [string, readonly number[]][] {
  const linear = (name: string, outputs: number, inputs: number): [string, number[]][] => [
    [`${name}.weight`, [outputs, inputs]],
    [`${name}.bias`, [outputs]],
  ];
  const norm = (name: string): [string, number[]][] => [
    [`${name}.LayerNorm.weight`, [WIDTH]],
    [`${name}.LayerNorm.bias`, [WIDTH]],
  ];
  const layers = Array.from({ length: LAYERS }, (_, i) => {
    const at = `encoder.layer.${i}`;
    return [
      ...linear(`${at}.attention.self.query`, WIDTH, WIDTH),
      ...linear(`${at}.attention.self.key`, WIDTH, WIDTH),
      ...linear(`${at}.attention.self.value`, WIDTH, WIDTH),
      ...linear(`${at}.attention.output.dense`, WIDTH, WIDTH),
      ...norm(`${at}.attention.output`),
      ...linear(`${at}.intermediate.dense`, HIDDEN, WIDTH),
      ...linear(`${at}.output.dense`, WIDTH, HIDDEN),
      ...norm(`${at}.output`),
    ];
  });
  return [
    ["embeddings.position_embeddings.weight", [POSITIONS, WIDTH]],
    ["embeddings.token_type_embeddings.weight", [2, WIDTH]],
    ["embeddings.word_embeddings.weight", [rows, WIDTH]],
    ...norm("embeddings"),
    ...layers.flat(),
  ];
}

/** Random tensors of these names; the values depend on the place in the list. */
function safetensors(shapes: readonly (readonly [string, readonly number[]])[]): Uint8Array {
  let offset = 0;
  const entries = shapes.map(([name, shape]) => {
    const begin = offset;
    offset += 4 * shape.reduce((count, size) => count * size, 1);
    return [name, { dtype: "F32", shape, data_offsets: [begin, offset] }];
  });
  const header = utf8Bytes(JSON.stringify(Object.fromEntries(entries)));
  const bytes = new Uint8Array(8 + header.length + offset);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, header.length, true);
  bytes.set(header, 8);
  let at = 8 + header.length;
  shapes.forEach(([, shape], stream) => {
    const count = shape.reduce((product, size) => product * size, 1);
    for (let i = 0; i < count; i++, at += 4) {
      const [draw] = threefry([stream, 5], [i, 0]);
      view.setFloat32(at, ((draw & 4095) - 2048) / 1024, true);
    }
  });
  return bytes;
}

/** A tokenizer.json of the words. */
export function encoderTokenizerFile(): Uint8Array {
  const special = (id: number): unknown => ({
    ...{ id, content: WORDS[id], special: true },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  });
  const frame = (name: string): unknown => ({ SpecialToken: { id: name, type_id: 0 } });
  const single = [frame("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, frame("[SEP]")];
  const token = (name: string): unknown => {
    return { id: name, ids: [WORDS.indexOf(name)], tokens: [name] };
  };
  const file = {
    version: "1.0",
    // What a file says of cutting and padding must not reach the tokens: texts have their own length.
    truncation: { max_length: 4, strategy: "LongestFirst", stride: 0 },
    padding: {
      ...{ strategy: { Fixed: 16 }, direction: "Right", pad_to_multiple_of: null },
      ...{ pad_id: 0, pad_type_id: 0, pad_token: "[PAD]" },
    },
    added_tokens: [0, 1, 2, 3].map(special),
    normalizer: {
      ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true },
      ...{ strip_accents: null, lowercase: true },
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      ...{ type: "TemplateProcessing", single, pair: single },
      special_tokens: { "[CLS]": token("[CLS]"), "[SEP]": token("[SEP]") },
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
