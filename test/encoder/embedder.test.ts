// Encoders from files to vectors. Goals: the graph computes what BERT's definition says, on every backend the
// same bits, however texts are grouped; files that are damaged or of another kind are refused with a reason.
// Method: a small random model against plain loops in binary64; the wasm backend against the oracle.

import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { after, before, test } from "node:test";
import { createReferenceBackend, createWasmBackend } from "gyrotron/backend";
import { DecodeError, formatHex, utf8Bytes } from "gyrotron/base";
import { embeddingsDigest, TextEmbedder } from "gyrotron/learn";
import {
  decodeHubTokenizer,
  decodeHuggingFaceEncoder,
  ModelError,
  prepareEncoder,
} from "gyrotron/model";
import {
  type Changes,
  CONTEXT,
  encoderFiles,
  encoderTokenizerFile,
  WIDTH,
  WORDS,
} from "./encoder-files.ts";
import { floatEmbedding } from "./float-encoder.ts";

const TEXTS = ["the cat sat", "a dog", "dogs sat the mats", "the dog sat", "", "zebra cats"];

const tokenizer = decodeHubTokenizer(encoderTokenizerFile());
const wasm = await createWasmBackend({ threads: 2 });
const oracle = createReferenceBackend();
let embedder: TextEmbedder;

before(() => {
  embedder = new TextEmbedder(prepareEncoder(decode()), tokenizer, wasm);
});
after(() => wasm.close());

for (const activation of ["gelu", "gelu_new", "relu"]) {
  for (const pooling of ["mean_tokens", "cls_token"]) {
    for (const normalizes of [true, false]) {
      test(`vectors by the definition: ${activation}, ${pooling}, length 1: ${normalizes}`, async () => {
        const source = decode({
          config: { hidden_act: activation },
          pooling: { [`pooling_mode_${pooling}`]: true },
          modules: normalizes
            ? ["Transformer", "Pooling", "Normalize"]
            : ["Transformer", "Pooling"],
        });
        const exact = new TextEmbedder(prepareEncoder(source, "w14a14"), tokenizer, wasm);
        const embeddings = await exact.embed(TEXTS);
        TEXTS.forEach((text, i) => {
          const expected = floatEmbedding(source, tokenizer.encodeFramed(text));
          const { vector } = embeddings[i]!;
          equal(vector.length, WIDTH);
          const largest = Math.max(...expected.map(Math.abs));
          vector.forEach((value, k) => {
            ok(
              Math.abs(value - expected[k]!) < 0.0015 * largest,
              `${text}: ${value} ${expected[k]}`,
            );
          });
        });
      });
    }
  }
}

test("each activation is its own op, too alike for sums of rounded numbers to tell", () => {
  for (const [name, op] of [
    ["gelu", "gelu"],
    ["gelu_new", "gelu-tanh"],
    ["gelu_pytorch_tanh", "gelu-tanh"],
    ["relu", "relu"],
  ] as const) {
    const { graph } = prepareEncoder(decode({ config: { hidden_act: name } }));
    const ops = graph.nodes.map((node) => node.op);
    const found = ops.filter((other) => ["gelu", "gelu-tanh", "relu"].includes(other));
    deepEqual(found, [op, op]);
  }
});

test("the same bits on the oracle, in every precision", async () => {
  const digests = new Set<string>();
  for (const precision of ["w8a8", "w8a14", "w14a14"] as const) {
    const model = prepareEncoder(decode(), precision);
    const vectors = async (backend: typeof wasm): Promise<string> => {
      const embeddings = await new TextEmbedder(model, tokenizer, backend).embed(TEXTS);
      return formatHex(embeddingsDigest(embeddings.map(({ vector }) => vector)));
    };
    const digest = await vectors(wasm);
    equal(digest, await vectors(oracle));
    digests.add(digest);
  }
  equal(digests.size, 3);
});

test("an embedder that was closed goes on with the same bits", async () => {
  const own = new TextEmbedder(prepareEncoder(decode()), tokenizer, wasm);
  const expected = (await own.embed(TEXTS)).map(({ vector }) => vector);
  await own.close();
  const found = (await own.embed(TEXTS)).map(({ vector }) => vector);
  deepEqual(embeddingsDigest(found), embeddingsDigest(expected));
  await own.close();
});

test("a vector depends on its text alone", async () => {
  const together = await embedder.embed([...TEXTS, ...TEXTS]);
  for (const [i, text] of TEXTS.entries()) {
    const [alone] = await embedder.embed([text]);
    deepEqual(together[i], alone);
    deepEqual(together[i + TEXTS.length], alone);
  }
});

test("long texts lose their end and say so", async () => {
  const words = ["the", "cat", "sat", "a", "mat", "dog", "cat", "the"];
  const [long, cut] = await embedder.embed([
    words.join(" "),
    words.slice(0, CONTEXT - 2).join(" "),
  ]);
  equal(long?.tokenCount, CONTEXT);
  ok(long.isTruncated && !cut!.isTruncated);
  deepEqual(long.vector, cut?.vector);
});

test("models with a head, of old names or with more segments hold the same encoder", () => {
  const identity = (changes: Changes): string =>
    formatHex(prepareEncoder(decode(changes)).identity);
  const plain = identity({});
  const renamed = (rename: (name: string) => string): Changes => ({ rename });
  equal(identity(renamed((name) => `bert.${name}`)), plain);
  const old = (name: string): string =>
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
  equal(identity(renamed(old)), plain);
  const extra = new Map([
    ["pooler.dense.weight", [WIDTH, WIDTH]],
    ["cls.predictions.bias", [WORDS.length]],
  ]);
  equal(identity({ extra }), plain);
  ok(identity({ config: { layer_norm_eps: 1e-5 } }) !== plain);
  ok(identity({ config: { hidden_act: "relu" } }) !== plain);
});

const refused: readonly [string, Changes, RegExp][] = [
  ["another model", { config: { model_type: "roberta" } }, /unsupported.*model_type roberta/],
  ["no type", { config: { model_type: undefined } }, /unsupported.*model_type nothing/],
  ["relative positions", { config: { position_embedding_type: "relative_key" } }, /relative_key/],
  ["a decoder", { config: { is_decoder: true } }, /unsupported.*is_decoder/],
  ["another activation", { config: { hidden_act: "swish" } }, /unsupported.*hidden_act swish/],
  ["a function of JSON", { config: { hidden_act: {} } }, /unsupported.*hidden_act object/],
  ["no width", { config: { hidden_size: null } }, /config.json: hidden_size is no size/],
  ["a width of text", { config: { hidden_size: "12" } }, /config.json: hidden_size is no size/],
  ["a broken size", { config: { num_hidden_layers: 1.5 } }, /num_hidden_layers is no size/],
  ["no layers", { config: { num_hidden_layers: 0 } }, /num_hidden_layers is no size/],
  ["too many layers", { config: { num_hidden_layers: 1e9 } }, /model\/limit.*layers/],
  [
    "a width that heads do not share",
    { config: { num_attention_heads: 5 } },
    /width 12 in 5 heads/,
  ],
  ["odd heads", { config: { num_attention_heads: 4 } }, /odd head size 3/],
  ["wide heads", { config: { hidden_size: 400, num_attention_heads: 1 } }, /limit.*head size/],
  ["a negative epsilon", { config: { layer_norm_eps: -1 } }, /norm epsilon -1/],
  ["an epsilon of text", { config: { layer_norm_eps: "0" } }, /layer_norm_eps is no number/],
  ["a larger vocabulary", { config: { vocab_size: 12 } }, /tensor-shape.*word_embeddings/],
  ["a layer more", { config: { num_hidden_layers: 3 } }, /tensor-missing.*layer\.2/],
  ["a layer less", { config: { num_hidden_layers: 1 } }, /unsupported.*tensor encoder\.layer\.1/],
  ["an unknown tensor", { extra: new Map([["adapter.weight", [2]]]) }, /tensor adapter\.weight/],
  ["pooling by maxima", { pooling: { pooling_mode_max_tokens: true } }, /pooling by max_tokens/],
  ["pooling by nothing", { pooling: {} }, /pooling by nothing/],
  ["another module", { modules: ["Transformer", "Dense"] }, /unsupported.*module Dense/],
  ["no length", { sentence: { max_seq_length: -1 } }, /sentence_bert_config.json: max_seq_length/],
];

for (const [name, changes, pattern] of refused) {
  test(`refused: ${name}`, () => {
    throws(
      () => decode(changes),
      (error) => {
        ok(error instanceof ModelError || error instanceof DecodeError, String(error));
        ok(pattern.test(error.message), error.message);
        return true;
      },
    );
  });
}

test("refused: files that are no JSON, and tensors that are cut off at any byte", () => {
  const files = encoderFiles();
  for (const bytes of [
    utf8Bytes("{"),
    utf8Bytes("[]"),
    Uint8Array.of(0xff),
    new Uint8Array(70_000),
  ]) {
    throws(() => decodeHuggingFaceEncoder({ ...files, config: bytes }), /config.json: /);
    throws(() => decodeHuggingFaceEncoder({ ...files, pooling: bytes }), /1_Pooling/);
  }
  throws(() => decodeHuggingFaceEncoder({ ...files, modules: utf8Bytes("{}") }), /no list/);
  throws(() => decodeHuggingFaceEncoder({ ...files, modules: utf8Bytes("[1]") }), /without a type/);
  for (let length = 0; length < files.tensors.length; length += 37) {
    const tensors = files.tensors.subarray(0, length);
    throws(() => decodeHuggingFaceEncoder({ ...files, tensors }), /safetensors\/decode/);
  }
});

test("a tokenizer with more words than the model has rows fails on the first of them", async () => {
  const rows = WORDS.length - 1;
  const model = prepareEncoder(decode({ config: { vocab_size: rows } }));
  const small = new TextEmbedder(model, tokenizer, wasm);
  equal((await small.embed(["the cat"])).length, 1);
  await rejects(small.embed(["the dog"]), /learn\/token-unknown \(token: 10, vocabulary: 10\)/);
});

function decode(changes: Changes = {}): ReturnType<typeof decodeHuggingFaceEncoder> {
  return decodeHuggingFaceEncoder(encoderFiles(changes));
}
