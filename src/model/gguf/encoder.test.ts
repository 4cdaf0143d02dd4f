// Encoders in GGUF files: the identity and the tokens of the same encoder in the files of Hugging Face, whoever
// wrote the file; what cannot run is named, and damaged files end in a named error.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { formatHex, GyrotronError, utf8Bytes } from "gyrotron/base";
import { byteSource } from "../byte-source.ts";
import type { EncoderSource } from "../encoder/encoder-source.ts";
import { decodeHuggingFaceEncoder } from "../encoder/hugging-face-encoder.ts";
import { prepareEncoder } from "../encoder/prepare-encoder.ts";
import { decodeHubTokenizer, type HubTokenizer } from "../hub-tokenizer.ts";
import { decodeGgufHeader } from "./container.ts";
import { decodeGgufModel } from "./decoder.ts";
import { decodeGgufEncoder } from "./encoder.ts";
import {
  encoderGguf,
  encoderHubFiles,
  encoderHubTokenizer,
  encoderMetadata,
  encoderTensors,
  WORDS,
} from "./sample-encoder.ts";
import { type MetadataEntry, sampleMetadata, type SampleTensor } from "./sample-gguf.ts";
import { decodeGgufTokenizer } from "./tokenizer.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const PRECISIONS = ["w8a8", "w8a14", "w14a14"] as const;

test("the identity is that of the same encoder in safetensors, in each precision", () => {
  const { source } = load(encoderGguf());
  const twin = decodeHuggingFaceEncoder(encoderHubFiles());
  const identities = PRECISIONS.map((precision) => {
    const identity = formatHex(prepareEncoder(source, precision).identity);
    assert.equal(identity, formatHex(prepareEncoder(twin, precision).identity));
    return identity;
  });
  assert.equal(new Set(identities).size, PRECISIONS.length);
});

test("pooling, epsilon and context are the file's; what it does not say is as usual", () => {
  const { source } = load(changed((m) => m.set("bert.pooling_type", [4, 2])));
  assert.equal(source.pooling, "first");
  const plain = load(
    changed((m) => {
      for (const key of ["pooling_type", "attention.causal", "attention.layer_norm_epsilon"])
        m.delete(`bert.${key}`);
      m.set("bert.context_length", [4, 9]);
    }),
  ).source;
  assert.equal(plain.pooling, "mean");
  assert.equal(plain.epsilon, Math.fround(1e-12));
  assert.deepEqual([plain.shape.context, plain.positions.length], [9, 9 * 32]);
  assert.equal(prepareEncoder(plain).shape.context, 9);
});

test("tokens are those of tokenizer.json, whoever wrote the file", () => {
  const expected = decodeHubTokenizer(encoderHubTokenizer());
  const first = changed((m) => {
    // The first converters left all that stands in brackets, and named both begin and end.
    const tokens = (m.get("tokenizer.ggml.tokens") as ["texts", string[]])[1];
    m.set("tokenizer.ggml.tokens", ["texts", tokens.with(1, "[unused0]")]);
    m.delete("tokenizer.ggml.token_type");
    m.delete("tokenizer.ggml.mask_token_id");
    m.delete("tokenizer.ggml.seperator_token_id");
    m.set("tokenizer.ggml.eos_token_id", [4, 4]);
  });
  const unnamed = changed((m) => {
    for (const key of m.keys()) if (key.endsWith("_token_id")) m.delete(key);
  });
  const tokenizers = [encoderGguf(), first, unnamed].map((file) => load(file).tokenizer);
  const pieces = [
    "the",
    "Cats",
    "SAT",
    "mat.",
    "東",
    "é",
    "e\u0301ee",
    "[",
    "[]",
    "  ",
    "\u0000",
    "\u2581the",
  ];
  const piece = fc.constantFrom(
    ...pieces,
    ...WORDS,
    "🐈",
    "\ud800",
    "zebra",
    "\t",
    "x".repeat(101),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom("", " "), (parts, between) => {
      const text = parts.join(between);
      for (const tokenizer of tokenizers) {
        assert.deepEqual(tokenizer.encodeFramed(text), expected.encodeFramed(text));
        assert.deepEqual(tokenizer.encode(text), expected.encode(text));
      }
    }),
    { seed, numRuns: 1000 },
  );
});

test("a vocabulary with capitals keeps them, unless the file says otherwise", () => {
  const withThe = (also: (metadata: Map<string, MetadataEntry>) => void): HubTokenizer =>
    load(
      changed((m) => {
        const tokens = (m.get("tokenizer.ggml.tokens") as ["texts", string[]])[1];
        m.set("tokenizer.ggml.tokens", ["texts", tokens.with(WORDS.indexOf("dog"), "\u2581The")]);
        also(m);
      }),
    ).tokenizer;
  const [the, capital] = [WORDS.indexOf("the"), WORDS.indexOf("dog")];
  assert.deepEqual(withThe(() => {}).encode("the The"), [the, capital]);
  const lowered = withThe((m) => m.set("tokenizer.ggml.normalizer.lowercase", [7, true]));
  assert.deepEqual(lowered.encode("the The"), [the, the]);
  const e = WORDS.indexOf("e");
  assert.deepEqual(lowered.encode("é"), [e]);
  const accents = withThe((m) => m.set("tokenizer.ggml.normalizer.strip_accents", [7, true]));
  assert.deepEqual(accents.encode("é The"), [e, capital]);
});

test("what cannot run is named", () => {
  const set = (key: string, entry: MetadataEntry): string =>
    errorOf(() => load(changed((m) => m.set(key, entry))));
  const without = (key: string): string => errorOf(() => load(changed((m) => m.delete(key))));
  assert.match(set("general.architecture", [8, "nomic-bert"]), /nomic-bert as an encoder/);
  assert.match(set("bert.attention.causal", [7, true]), /see only those before/);
  assert.match(set("bert.pooling_type", [4, 0]), /pooling by none/);
  assert.match(set("bert.pooling_type", [4, 3]), /pooling by last/);
  assert.match(set("bert.pooling_type", [4, 9]), /pooling by 9/);
  assert.match(set("bert.attention.head_count_kv", [4, 1]), /grouped heads/);
  assert.match(set("bert.attention.head_count", [4, 3]), /width 32 in 3 heads/);
  assert.match(set("bert.attention.layer_norm_epsilon", [6, -1]), /norm epsilon -1/);
  assert.match(set("bert.embedding_length", [8, "wide"]), /embedding_length is wide/);
  assert.match(without("bert.embedding_length"), /embedding_length is missing/);
  assert.match(set("bert.block_count", [4, 3]), /tensor-missing.*blk\.2\.attn_q\.weight/);
  assert.match(set("bert.block_count", [4, 1]), /unsupported.*blk\.1/);
  assert.match(set("bert.context_length", [4, 17]), /tensor-shape.*position_embd/);
  assert.match(set("bert.feed_forward_length", [4, 65]), /tensor-shape.*ffn_up/);
  assert.match(set("tokenizer.ggml.bos_token_id", [4, 20]), /cls_token_id is 20, no token/);
  assert.match(set("tokenizer.ggml.model", [8, "t5"]), /tokenizer t5/);
  assert.match(without("tokenizer.ggml.tokens"), /tokens is no list of texts/);
  const nameless = changed((m) => {
    m.delete("tokenizer.ggml.unknown_token_id");
    m.set("tokenizer.ggml.tokens", ["texts", WORDS.map((_, i) => `\u2581word${i}`)]);
  });
  assert.match(
    errorOf(() => load(nameless)),
    /unknown_token_id is missing/,
  );
});

test("tensors of another model are named, and an encoder is no writer of text", () => {
  const extra: SampleTensor = { ...encoderTensors()[1]!, name: "cls.weight" };
  const withExtra = encoderGguf(encoderMetadata(), [...encoderTensors(), extra]);
  assert.match(
    errorOf(() => load(withExtra)),
    /unsupported.*cls\.weight/,
  );
  const without = encoderTensors().filter(({ name }) => name !== "token_types.weight");
  assert.match(
    errorOf(() => load(encoderGguf(encoderMetadata(), without))),
    /tensor-missing.*token_types/,
  );
  const notFinite = encoderTensors().map((tensor) =>
    tensor.name === "blk.1.ffn_up.weight"
      ? { ...tensor, bytes: tensor.bytes.slice().fill(255) }
      : tensor,
  );
  assert.match(
    errorOf(() => load(encoderGguf(encoderMetadata(), notFinite))),
    /blk\.1\.ffn_up.*not finite/,
  );
  const file = byteSource(encoderGguf());
  assert.match(
    errorOf(() => decodeGgufModel(file, decodeGgufHeader(file))),
    /bert as a writer of text; `embed` runs it/,
  );
  const llama = encoderGguf(sampleMetadata());
  assert.match(
    errorOf(() => load(llama)),
    /llama as an encoder/,
  );
});

test("fuzz: damaged files end in a value or a named error", () => {
  const file = encoderGguf();
  const edit = fc.record({ at: fc.nat(file.length - 1), byte: fc.nat(255) });
  const outcomes = { refused: 0, loaded: 0 };
  fc.assert(
    fc.property(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat(file.length), { freq: 2 }),
      (edits, cut) => {
        const bytes = file.slice(0, cut ?? file.length);
        for (const { at, byte } of edits) if (at < bytes.length) bytes[at] = byte;
        const error = errorOf(() => load(bytes));
        outcomes[error === "no error" ? "loaded" : "refused"] += 1;
      },
    ),
    { seed, numRuns: 1000 },
  );
  assert.ok(outcomes.refused > 300 && outcomes.loaded > 50, JSON.stringify(outcomes));
});

function changed(change: (metadata: Map<string, MetadataEntry>) => void): Uint8Array {
  const metadata = encoderMetadata();
  change(metadata);
  return encoderGguf(metadata);
}

/** Reads all of a file. */
function load(bytes: Uint8Array): { source: EncoderSource; tokenizer: HubTokenizer } {
  const file = byteSource(bytes);
  const header = decodeGgufHeader(file);
  const source = decodeGgufEncoder(file, header);
  prepareEncoder(source);
  const stored = decodeGgufTokenizer(header);
  assert.ok(stored.kind === "hub");
  return { source, tokenizer: decodeHubTokenizer(utf8Bytes(stored.json)) };
}

function errorOf(body: () => unknown): string {
  try {
    body();
    return "no error";
  } catch (error) {
    assert.ok(error instanceof GyrotronError, String(error));
    return error.message;
  }
}
