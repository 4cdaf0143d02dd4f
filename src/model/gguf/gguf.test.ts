// GGUF: storage formats against recorded values of their reference, the container against files that lie,
// tokenizer and template, and a fuzzer.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { DecodeError, formatHex, GyrotronError, present, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import { type Precision, widenMatrix } from "gyrotron/tensor";
import { byteSource } from "../byte-source.ts";
import { ChatTemplate } from "../chat-template.ts";
import { decodeHubTokenizer, reopenHubTokenizer } from "../hub-tokenizer.ts";
import { emptyLevels } from "../level-matrix.ts";
import { PieceTokenizer } from "../piece-tokenizer.ts";
import { prepareModel } from "../prepare.ts";
import { decodeTokens } from "../text-tokenizer.ts";
import { blockFormat } from "./block-format.ts";
import { decodeGgufHeader } from "./container.ts";
import { decodeGgufModel } from "./decoder.ts";
import {
  ggufFile,
  type MetadataEntry,
  sampleLevelTensors,
  sampleMetadata,
  type SampleTensor,
  sampleTensors,
} from "./sample-gguf.ts";
import { chatTemplateOf, decodeGgufTokenizer } from "./tokenizer.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);

/** Format, places of its f16 fields, SHA-256 of the f32 values by the Python package gguf 0.19.0. */
const REFERENCE: readonly (readonly [number, readonly number[], string])[] = [
  [2, [0], "b0b139cf5c67a868c30d4d10cbbdae6f14562234ef00b08bbd9a744805014a48"],
  [3, [0, 2], "0f55ba64e54638572e2788d9e701f1986409c07930914ee7327a966876f2f8b5"],
  [6, [0], "b1ecb8f2cdbee6ac14f30d62bd7c34fdb309b6eb43f3872a3825cec4b1dd1d0a"],
  [7, [0, 2], "da5b41dd9383121bc8c1338a828569488c685893a6a544527a661a2a195ff7a1"],
  [8, [0], "e97bb5953168062b8a35499855d74117846bb275609c8023cd796fc8e6132fe4"],
  [10, [80, 82], "599ab0376afe6426f4dc2bce0d69b6c6eb1ceb83a09deb47348c0b4017c9faef"],
  [11, [108], "50e0a8cbd093fb8687585561de5ca113f57334d03c8cac109f60bd0ea230fde0"],
  [12, [0, 2], "300adfbdd735da7ad098468c54fb2458d62346e87b25d8ad73eb6f58ec1fc99b"],
  [13, [0, 2], "a36e0d4e9b9816814cabe1ad2c882bc15c85176de09f30de2c9b306bd49350e0"],
  [14, [208], "e943568ed2cbd6fcba71aef2d18c1b1b6053cdadcfc4b3c151d56169dc8718b6"],
];

test("every block format gives the reference's values", () => {
  for (const [format, halves, expected] of REFERENCE) {
    const { name, elements, bytes, read } = blockFormat(format)!;
    const file = Uint8Array.from({ length: 64 * bytes }, (_, k) => k * 197 + (k >> 8) * 31 + 7);
    const view = new DataView(file.buffer);
    const values = new Float32Array(64 * elements);
    for (let block = 0; block < 64; block++) {
      for (const at of halves)
        view.setUint16(block * bytes + at, 0x2400 + ((block * 37 + at) & 0x7ff), true);
      read(view, block * bytes, values, block * elements);
    }
    assert.equal(formatHex(sha256(new Uint8Array(values.buffer))), expected, name);
  }
});

test("levels are the numbers that the values are made of", () => {
  for (const [format, halves] of REFERENCE) {
    const { name, elements, bytes, read, readLevels } = blockFormat(format)!;
    assert.equal(readLevels !== undefined, ["Q4_0", "Q4_1", "Q4_K"].includes(name), name);
    if (readLevels === undefined) continue;
    const view = new DataView(Uint8Array.from({ length: 8 * bytes }, (_, k) => k * 197 + 7).buffer);
    const values = new Float32Array(8 * elements);
    const matrix = emptyLevels(8 * elements);
    for (let block = 0; block < 8; block++) {
      // Of either sign, as files may have them.
      for (const at of halves)
        view.setUint16(block * bytes + at, 0x2400 + block * 77 + (block & 1) * 0x8000, true);
      read(view, block * bytes, values, block * elements);
      readLevels(view, block * bytes, matrix, block * elements);
    }
    const { levels, steps, lows } = matrix;
    const made = values.map((_, k) => lows[k >> 5]! + levels[k]! * steps[k >> 5]! + 0);
    assert.deepEqual(made, values, name);
  }
});

test("levels of a file are kept with 8 bits, and only there", () => {
  const file = byteSource(ggufFile(sampleMetadata(), sampleLevelTensors()));
  const source = decodeGgufModel(file, decodeGgufHeader(file));
  const bitsOf = (precision: Precision): unknown[] =>
    prepareModel(source, precision).weights.layers.map(({ query, value, gate, up }) =>
      [query, value, gate, up].map((matrix) => matrix?.bits),
    );
  assert.deepEqual(bitsOf("w8a14"), [
    [8, 4, 4, 4],
    [8, 8, 8, 8],
  ]);
  assert.deepEqual(bitsOf("w14a14").flat(), Array(8).fill(14));
  const { gate } = prepareModel(source, "w8a8").weights.layers[0]!;
  const wide = widenMatrix(present(gate));
  source.layers[0]!.gate!.forEach((value, k) => {
    const c = Math.floor(k / 32);
    const unit = wide.scales[c]! * 2 ** wide.exponents[c]!;
    assert.ok(Math.abs(wide.mantissas[k]! * unit - value) <= 4.26 * unit, String(k));
  });
});

test("a step that is not finite is refused with its block's offset", () => {
  const tensors = sampleLevelTensors();
  const up = tensors.find(({ name }) => name === "blk.0.ffn_up.weight")!;
  new DataView(up.bytes.buffer).setUint16(5 * 18, 0x7c00, true);
  const bytes = ggufFile(sampleMetadata(), tensors);
  const header = decodeGgufHeader(byteSource(bytes));
  const offset = header.tensors.get(up.name)!.offset + 5 * 18;
  const source = decodeGgufModel(byteSource(bytes), header);
  assert.throws(
    () => prepareModel(source),
    (error) => {
      assert.ok(error instanceof DecodeError);
      assert.deepEqual(error.info, {
        ...error.info,
        what: `${up.name}: value is not finite`,
        offset,
      });
      return true;
    },
  );
});

test("a file becomes settings, tensors, tokenizer and template", () => {
  const file = byteSource(ggufFile());
  const header = decodeGgufHeader(file);
  const source = decodeGgufModel(file, header);
  assert.deepEqual(source.shape, {
    width: 32,
    hidden: 64,
    layers: 2,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    vocabulary: 8,
    context: 32,
  });
  assert.deepEqual([source.beginToken, source.endTokens, source.rotaryInterleaved], [6, [7], true]);
  const table = source.embedding.rows(0, 8);
  for (const first of [0, 3, 7])
    assert.deepEqual(source.embedding.rows(first, 1), table.subarray(first * 32, (first + 1) * 32));
  const tensors = new Map(sampleTensors().map(({ name, bytes }) => [name, bytes]));
  const down = source.layers[1]!.down;
  assert.deepEqual(new Uint8Array(down.buffer), tensors.get("blk.1.ffn_down.weight"));
  assert.equal(source.classifier, undefined);
  assert.equal(prepareModel(source).weights.layers.length, 2);

  const stored = decodeGgufTokenizer(header);
  assert.ok(stored.kind === "hub");
  const tokenizer = decodeHubTokenizer(utf8Bytes(stored.json));
  assert.deepEqual(tokenizer.encode("ab ab c"), [4, 5, 3, 2]);
  assert.equal(decodeTokens(tokenizer, [6, 4, 5, 3, 2, 7]), "ab ab c");
  const template = new ChatTemplate(chatTemplateOf(header)!, { begin: "", end: "" });
  const prompt = template.render([{ role: "user", content: "ab" }]);
  assert.deepEqual(tokenizer.encode(prompt), [6, 4, 7]);
});

test("what cannot run is named", () => {
  const refused = (change: (metadata: Map<string, MetadataEntry>) => void): string => {
    const metadata = sampleMetadata();
    change(metadata);
    return errorOf(() => load(ggufFile(metadata)));
  };
  const set = (key: string, entry: MetadataEntry): string => refused((m) => m.set(key, entry));
  assert.match(set("general.architecture", [8, "mamba"]), /model\/unsupported.*mamba/);
  assert.match(set("llama.rope.scaling.type", [8, "yarn"]), /yarn/);
  assert.match(set("general.architecture", [8, "qwen3"]), /qwen3\.embedding_length is missing/);
  const scaled = (factor: number): string =>
    refused((m) => {
      m.set("llama.rope.scaling.type", [8, "linear"]);
      m.set("llama.rope.scaling.factor", [6, factor]);
    });
  assert.equal(scaled(4), "no error");
  assert.match(scaled(-4), /rotary scaling linear/);
  assert.match(scaled(NaN), /rotary scaling linear/);
  assert.match(set("llama.block_count", [8, "two"]), /block_count is two/);
  assert.match(set("llama.block_count", [4, 3]), /tensor-missing.*blk\.2/);
  assert.match(set("llama.block_count", [4, 1]), /unsupported.*blk\.1/);
  assert.match(set("llama.feed_forward_length", [4, 65]), /tensor-shape/);
  assert.match(set("llama.rope.dimension_count", [4, 8]), /part of each head/);
  assert.match(set("tokenizer.ggml.model", [8, "t5"]), /tokenizer t5/);
  assert.match(set("tokenizer.ggml.pre", [8, "other"]), /pre-tokenizer other/);
  assert.match(
    refused((m) => m.delete("tokenizer.ggml.tokens")),
    /tokenizer\/decode.*no list of texts/,
  );
  assert.match(set("tokenizer.chat_template", [8, "{% for %}"]), /chat-template\/decode/);
});

test("tensors that an architecture does not know, or lacks, are named", () => {
  const f32 = (name: string, ...values: readonly number[]): SampleTensor => {
    const bytes = new Uint8Array(Float32Array.from(values).buffer);
    return { name, shape: [values.length], format: 0, bytes };
  };
  const withTensors = (...more: readonly SampleTensor[]): string =>
    errorOf(() => load(ggufFile(sampleMetadata(), [...sampleTensors(), ...more])));
  const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);
  const bias = (layer: number): SampleTensor => f32(`blk.${layer}.attn_q.bias`, ...zeros(32));
  assert.equal(withTensors(bias(0), bias(1)), "no error");
  assert.match(withTensors(bias(0)), /tensor-missing.*blk\.1\.attn_q\.bias/);
  assert.match(withTensors(bias(1)), /unsupported.*blk\.1\.attn_q\.bias/);
  // A norm with a bias is no RMS norm.
  assert.match(withTensors(f32("blk.0.attn_norm.bias", ...zeros(32))), /unsupported.*attn_norm/);
  assert.equal(withTensors(f32("rope_freqs.weight", 1, 1, 1, 2, 3, 8, 8, 8)), "no error");
  assert.match(withTensors(f32("rope_freqs.weight", 1, 1, 8)), /rotary scaling divisors/);
  assert.match(withTensors(f32("rope_freqs.weight", ...zeros(8))), /rotary scaling divisors/);
  const renamed = (architecture: string): string => {
    const entries = Array.from(
      sampleMetadata(),
      ([key, entry]) => [key.replace(/^llama\./, `${architecture}.`), entry] as const,
    );
    const metadata = new Map([...entries, ["general.architecture", [8, architecture]] as const]);
    metadata.set("gpt2.attention.layer_norm_epsilon", [6, 1e-5]);
    return errorOf(() => load(ggufFile(metadata)));
  };
  assert.equal(renamed("qwen2"), "no error");
  assert.match(renamed("qwen3"), /tensor-missing.*attn_q_norm/);
  assert.match(renamed("gpt2"), /tensor-missing.*attn_qkv/);
});

test("files that lie are refused with the offset", () => {
  const change = (edit: (view: DataView) => void): string => {
    const file = ggufFile();
    edit(new DataView(file.buffer));
    return errorOf(() => load(file));
  };
  assert.match(
    change((v) => v.setUint32(0, 1, true)),
    /no GGUF file.*offset: 0/,
  );
  assert.match(
    change((v) => v.setUint32(4, 9, true)),
    /version 9.*offset: 4/,
  );
  assert.match(
    change((v) => v.setBigUint64(8, 1n << 40n, true)),
    /tensors.*offset: 8/,
  );
  assert.match(
    change((v) => v.setBigUint64(16, 1n << 63n, true)),
    /keys.*offset: 16/,
  );
  assert.match(
    change((v) => v.setBigUint64(24, 1n << 33n, true)),
    /bytes of text.*offset: 24/,
  );
  assert.match(
    errorOf(() => load(ggufFile().subarray(0, 900))),
    /cut off.*offset: 900/,
  );
  const tensors = sampleTensors();
  const short = tensors.map((t) => (t.format === 0 ? { ...t, format: 77 } : t));
  assert.match(
    errorOf(() => load(ggufFile(sampleMetadata(), short))),
    /unknown format 77/,
  );
  const bad = tensors.map((t) =>
    t.name === "output_norm.weight" ? { ...t, bytes: t.bytes.slice().fill(255) } : t,
  );
  assert.match(
    errorOf(() => load(ggufFile(sampleMetadata(), bad))),
    /output_norm.*not finite/,
  );
});

test("fuzz: damaged files end in a value or a named error", () => {
  const file = ggufFile();
  const head = file.length - 4 * (8 * 32 + 32);
  const edit = fc.record({ at: fc.nat(Math.min(head, 3000)), byte: fc.nat(255) });
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat(file.length)),
      (edits, cut) => {
        const bytes = file.slice(0, cut ?? file.length);
        for (const { at, byte } of edits) if (at < bytes.length) bytes[at] = byte;
        if (errorOf(() => load(bytes)) !== "no error") refused++;
      },
    ),
    { seed, numRuns: 1500 },
  );
  assert.ok(refused > 500, `only ${refused} refused`);
});

function load(file: Uint8Array): void {
  const source = byteSource(file);
  const header = decodeGgufHeader(source);
  prepareModel(decodeGgufModel(source, header));
  const template = chatTemplateOf(header);
  if (template !== undefined) new ChatTemplate(template, { begin: "", end: "" });
  const stored = decodeGgufTokenizer(header);
  if (stored.kind !== "pieces") reopenHubTokenizer(stored);
  else new PieceTokenizer(stored.file);
}

function errorOf(body: () => unknown): string {
  try {
    body();
    return "no error";
  } catch (error) {
    assert.ok(error instanceof GyrotronError || error instanceof DecodeError, String(error));
    return error.message;
  }
}
