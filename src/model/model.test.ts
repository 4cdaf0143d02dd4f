// Loaders, exact preparation and identity.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import fc from "fast-check";
import { DecodeError } from "gyrotron/base";
import {
  f32FromBits,
  quantizeBlockColumn,
  quantizeColumn,
  quantizeLevelColumn,
} from "gyrotron/numerics";
import { widenMatrix } from "gyrotron/tensor";
import { quantizeColumns } from "./column-quantize.ts";
import { halfToF32, importFloats } from "./float-import.ts";
import {
  decodeHuggingFace,
  decodeLlama2c,
  ModelError,
  prepareModel,
  PieceTokenizer,
} from "./index.ts";
import {
  configFile,
  containerFile,
  huggingFaceTensors,
  llama2cFile,
  safetensorsFile,
  sampleFloats,
  tokenizerFile,
} from "./sample-files.ts";
import { quantizeLevels } from "./level-matrix.ts";
import { Safetensors } from "./safetensors.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const shared = process.env["GYROTRON_SHARED"] ?? join(import.meta.dirname, "../../../shared");
const stories = join(shared, "models/stories260k");
const skip = existsSync(stories) ? false : `no checkpoint in ${stories}`;

/** The code, and the offset if there is one, of the error that `body` throws. */
function errorOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof DecodeError)
      return `${error.info.code} ${error.info.what} @${error.info.offset}`;
    if (error instanceof ModelError) return error.message;
    throw error;
  }
  return "no error";
}

test("all 65,536 halves and brain floats are imported exactly", () => {
  const view = new DataView(new ArrayBuffer(4));
  for (let bits = 0; bits < 65536; bits++) {
    view.setUint16(0, bits, true);
    const half = view.getFloat16(0, true);
    assert.ok(
      Object.is(halfToF32(bits), half) || (Number.isNaN(half) && !Number.isFinite(halfToF32(bits))),
    );
    const bytes = new Uint8Array(view.buffer, 0, 2);
    view.setUint32(0, 0);
    view.setUint16(0, bits, true);
    const expected = f32FromBits((bits << 16) >>> 0);
    if (!Number.isFinite(expected)) continue;
    const [value] = importFloats(bytes, { offset: 0, count: 1, type: "BF16" });
    assert.ok(Object.is(value, expected + 0));
  }
});

test("import: -0 becomes 0, and what is not finite is an error with its place", () => {
  const file = new Uint8Array(Float32Array.of(1, -0, NaN).buffer);
  assert.ok(Object.is(importFloats(file, { offset: 4, count: 1, type: "F32" })[0], 0));
  assert.equal(
    errorOf(() => importFloats(file, { offset: 0, count: 3, type: "F32" })),
    "tensor/decode value is not finite @8",
  );
  const halves = Uint8Array.of(0, 0x3c, 0, 0x7c);
  assert.equal(
    errorOf(() => importFloats(halves, { offset: 0, count: 2, type: "F16" })),
    "tensor/decode value is not finite @2",
  );
});

test("the fast column quantizer is the oracle's", () => {
  const weight = fc.oneof(
    fc
      .integer({ min: 0, max: 0xffff_ffff })
      .map((bits) => f32FromBits(bits))
      .filter(Number.isFinite),
    fc.integer({ min: -20000, max: 20000 }).map((n) => n / 64),
    fc.constantFrom(
      0,
      2 ** -149,
      127 * 255,
      127 * 128,
      63.5,
      100.5,
      8191 * 129,
      f32FromBits(0x7f7fffff),
    ),
  );
  fc.assert(
    fc.property(
      fc.array(weight, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(8, 14),
      (column, bits) => {
        const values = Float32Array.from(column, (x) => x + 0);
        const fast = quantizeColumns(values, {
          outputs: 1,
          inputs: values.length,
          bits: bits as 8 | 14,
        });
        const slow = quantizeColumn(values, bits);
        assert.deepEqual(Array.from(fast.mantissas), slow.mantissas.map(Number));
        assert.equal(fast.scales[0], slow.scale);
        assert.equal(fast.exponents[0], slow.exponent);
      },
    ),
    { seed, numRuns: 3000 },
  );
});

test("block scales: the fast quantizer is the definition", () => {
  const block = fc
    .tuple(fc.integer({ min: -149, max: 100 }), fc.integer({ min: 1, max: 70 }))
    .chain(([exponent, length]) =>
      fc
        .array(fc.integer({ min: -40000, max: 40000 }), { minLength: length, maxLength: length })
        .map((numbers) => numbers.map((n) => Math.fround(n * 2 ** exponent))),
    );
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 4 }), (blocks) => {
      const values = Float32Array.from(blocks.flat(), (x) => x + 0);
      const format = { outputs: 1, inputs: values.length, bits: 8, blocks: true } as const;
      const fast = quantizeColumns(values, format);
      const slow = quantizeBlockColumn(values);
      assert.deepEqual(Array.from(fast.mantissas), slow.mantissas.map(Number));
      assert.deepEqual(Array.from(fast.blockScales ?? []), slow.blockScales);
      assert.equal(fast.scales[0], slow.scale);
      assert.equal(fast.exponents[0], slow.exponent);
    }),
    { seed, numRuns: 1000 },
  );
});

test("levels: the fast quantizer is the definition, and stays within its bounds", () => {
  const half = fc
    .tuple(fc.integer({ min: -2047, max: 2047 }), fc.integer({ min: -24, max: 4 }))
    .map(([mantissa, exponent]) => mantissa * 2 ** exponent);
  const block = fc.record({
    levels: fc.array(fc.integer({ min: 0, max: 15 }), { minLength: 32, maxLength: 32 }),
    step: fc.tuple(half, fc.integer({ min: 0, max: 63 })).map(([scale, s]) => scale * s),
    low: fc.tuple(half, fc.integer({ min: 0, max: 63 })).map(([scale, s]) => scale * s),
  });
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 4 }), (blocks) => {
      const inputs = blocks.length * 32;
      const fast = quantizeLevels(
        {
          levels: Uint8Array.from(blocks.flatMap(({ levels }) => levels)),
          steps: Float32Array.from(blocks, ({ step }) => step),
          lows: Float32Array.from(blocks, ({ low }) => low),
        },
        { outputs: 1, inputs },
      );
      const slow = quantizeLevelColumn(blocks);
      const unpacked = Array.from(fast.mantissas).flatMap((pair) => [pair & 15, pair >> 4]);
      assert.deepEqual(unpacked, slow.mantissas.map(Number));
      assert.deepEqual(Array.from(fast.blockScales ?? []), slow.blockScales);
      assert.deepEqual(Array.from(fast.blockOffsets ?? []), slow.blockOffsets);
      assert.equal(fast.scales[0], slow.scale);
      assert.equal(fast.exponents[0], slow.exponent);
      const unit = slow.scale * 2 ** slow.exponent;
      widenMatrix(fast).mantissas.forEach((integer, k) => {
        const { levels, step, low } = blocks[k >> 5]!;
        const exact = (low + step * levels[k & 31]!) / unit;
        assert.ok(Math.abs(integer) <= 8190 && Math.abs(integer - exact) <= 4.25);
      });
    }),
    { seed, numRuns: 1000 },
  );
});

test("block scales: numbers of Q8_0 stay within half a step of a fine grid", () => {
  // Two blocks whose scales have a ratio that multipliers can have: nothing is lost.
  const values = Float32Array.from(
    { length: 64 },
    (_, k) => (k < 32 ? 64 : 17) * (((k * 37) % 255) - 127),
  );
  values[0] = 64 * 127;
  values[40] = 17 * -127;
  const packed = quantizeColumns(values, { outputs: 1, inputs: 64, bits: 8, blocks: true });
  const step = packed.scales[0]! * 2 ** packed.exponents[0]!;
  packed.mantissas.forEach((q, k) => {
    assert.equal(q * packed.blockScales![k >> 5]! * step, values[k]);
  });
});

test("llama2.c: tensors land where they belong", () => {
  const source = decodeLlama2c(llama2cFile());
  const all = sampleFloats(100_000, 1);
  const width = 12;
  assert.deepEqual(source.embedding.rows(0, 262), all.subarray(0, 262 * width));
  assert.deepEqual(source.embedding.rows(5, 2), all.subarray(5 * width, 7 * width));
  const start = 262 * width;
  assert.deepEqual(source.layers[1]!.attentionGain, all.subarray(start + width, start + 2 * width));
  const query = start + 2 * width;
  assert.deepEqual(source.layers[0]!.query, all.subarray(query, query + 144));
  assert.equal(source.classifier, undefined);
  assert.equal(source.rotaryInterleaved, true);
  const own = decodeLlama2c(llama2cFile({ ownClassifier: true }));
  assert.equal(own.classifier?.vocabulary, 262);
  assert.notDeepEqual(own.classifier.rows(0, 262), own.embedding.rows(0, 262));
});

test("llama2.c: every truncation and a longer file are refused", () => {
  const file = llama2cFile();
  for (let length = 0; length < file.length; length += length < 40 ? 1 : 997) {
    assert.match(
      errorOf(() => decodeLlama2c(file.subarray(0, length))),
      /llama2c\/decode/,
    );
  }
  const longer = new Uint8Array(file.length + 4);
  longer.set(file);
  assert.equal(
    errorOf(() => decodeLlama2c(longer)),
    `llama2c/decode ${file.length} bytes expected @${file.length}`,
  );
});

test("llama2.c: headers out of range name what is wrong", () => {
  const withWord = (index: number, value: number): Uint8Array => {
    const file = llama2cFile();
    new DataView(file.buffer).setInt32(index * 4, value, true);
    return file;
  };
  assert.match(
    errorOf(() => decodeLlama2c(withWord(0, 13))),
    /width is not a multiple of heads @12/,
  );
  assert.match(
    errorOf(() => decodeLlama2c(withWord(2, 0x7fffffff))),
    /model\/limit.*layers/,
  );
  assert.match(
    errorOf(() => decodeLlama2c(withWord(4, 0))),
    /model\/unsupported.*kvHeads/,
  );
  assert.match(
    errorOf(() => decodeLlama2c(withWord(6, -1))),
    /sequence length/,
  );
  assert.match(
    errorOf(() => decodeLlama2c(withWord(5, -0x80000000))),
    /model\/limit.*vocabulary/,
  );
});

test("Hugging Face: the three float types give the same model", () => {
  const tensors = huggingFaceTensors();
  const sources = (["F32", "F16", "BF16"] as const).map((type) =>
    decodeHuggingFace({ config: configFile(), tensors: safetensorsFile(tensors, type) }),
  );
  assert.deepEqual(
    sources[0]!.layers[1]!.down,
    tensors.get("model.layers.1.mlp.down_proj.weight")!.values,
  );
  const identities = sources.map((source) => prepareModel(source).identity.toHex());
  assert.equal(new Set(identities).size, 1);
  assert.equal(sources[0]!.epsilon, Math.fround(1e-5));
  const untied = new Map([
    ...tensors,
    ["lm_head.weight", { shape: [262, 12], values: sampleFloats(3144, 99) }],
  ]);
  const own = decodeHuggingFace({
    config: configFile({ tie_word_embeddings: false, eos_token_id: [2, 7] }),
    tensors: safetensorsFile(untied),
  });
  assert.deepEqual(own.endTokens, [2, 7]);
  assert.notEqual(prepareModel(own).identity.toHex(), identities[0]);
});

test("Hugging Face: what cannot run is refused by name", () => {
  const tensors = huggingFaceTensors();
  const file = safetensorsFile(tensors);
  const withConfig = (changes: Record<string, unknown>): string =>
    errorOf(() => decodeHuggingFace({ config: configFile(changes), tensors: file }));
  assert.equal(withConfig({}), "no error");
  assert.equal(withConfig({ sliding_window: 4096, rope_scaling: null }), "no error");
  assert.match(withConfig({ hidden_act: "gelu" }), /model\/unsupported.*silu/);
  assert.match(withConfig({ rope_scaling: { type: "llama3" } }), /factor is no number/);
  assert.match(withConfig({ attention_bias: true }), /tensor-missing.*q_proj\.bias/);
  assert.match(withConfig({ mlp_bias: true }), /tensor-missing.*gate_proj\.bias/);
  assert.match(withConfig({ model_type: "qwen3" }), /tensor-missing.*q_norm/);
  for (const type of ["gemma", "toString"])
    assert.match(withConfig({ model_type: type }), new RegExp(`model_type ${type}; this version`));
  assert.match(withConfig({ rope_parameters: { rope_type: "yarn" } }), /rope type yarn/);
  assert.match(withConfig({ rope_scaling: { type: "linear", factor: 0 } }), /scaling linear/);
  assert.match(withConfig({ rope_scaling: [] }), /rope_scaling is no object/);
  assert.match(withConfig({ partial_rotary_factor: 0.5 }), /partial_rotary_factor/);
  assert.match(withConfig({ layer_types: ["chunked_attention"] }), /layer_types chunked/);
  assert.match(withConfig({ hidden_size: "12" }), /config\/decode hidden_size is no number/);
  assert.match(withConfig({ num_hidden_layers: 3 }), /model\/tensor-missing.*layers\.2\.input/);
  assert.match(withConfig({ num_hidden_layers: 1 }), /model\/unsupported.*layers\.1/);
  assert.match(withConfig({ intermediate_size: 21 }), /model\/tensor-shape.*21 x 12.*20 x 12/);
  assert.match(withConfig({ rms_norm_eps: -1 }), /epsilon/);
  assert.match(withConfig({ head_dim: 5 }), /odd head size/);
  assert.match(withConfig({ tie_word_embeddings: false }), /tensor-missing.*lm_head/);
  assert.match(
    errorOf(() => decodeHuggingFace({ config: Uint8Array.of(123), tensors: file })),
    /config\/decode not JSON/,
  );
});

test("safetensors: headers that lie are refused", () => {
  const data = new Uint8Array(16);
  const tensor = (shape: unknown, from: unknown, to: unknown, dtype: unknown = "F32"): unknown => ({
    dtype,
    shape,
    data_offsets: [from, to],
  });
  const check = (header: unknown, bytes = data): string =>
    errorOf(() => new Safetensors(containerFile(header, bytes)));
  assert.equal(check({ a: tensor([2], 0, 8), b: tensor([2, 1], 8, 16) }), "no error");
  assert.equal(
    check({ a: tensor([], 0, 4), b: tensor([0], 4, 4), c: tensor([3], 4, 16) }),
    "no error",
  );
  assert.match(check({ a: tensor([2], 0, 8), b: tensor([2], 4, 12) }), /overlap/);
  assert.match(check({ a: tensor([2], 0, 8) }), /after the last/);
  assert.match(check({ a: tensor([2], 8, 16) }), /gap/);
  assert.match(check({ a: tensor([5], 0, 20) }), /past the end/);
  assert.match(check({ a: tensor([4], 0, 15) }), /do not fit/);
  assert.match(check({ a: tensor([-4], 0, 16) }), /bad shape/);
  assert.match(check({ a: tensor([2 ** 40, 2 ** 40], 0, 16) }), /do not fit/);
  assert.match(check({ a: tensor([4], 0, 16, "F8") }), /unknown dtype/);
  assert.match(check({ a: tensor([4], 0, null) }), /bad data_offsets/);
  assert.match(check([]), /no object/);
  assert.match(check("{"), /not JSON/);
  assert.match(check("[".repeat(100_000)), /not JSON/);
  assert.match(
    errorOf(() => new Safetensors(Uint8Array.of(1, 2))),
    /cut off @2/,
  );
  assert.match(
    errorOf(() => new Safetensors(new Uint8Array(16).fill(255))),
    /header length out of range @0/,
  );
  const half = containerFile({ a: tensor([8], 0, 16, "I16") }, data);
  const file = new Safetensors(half);
  assert.match(
    errorOf(() => file.floats(file.tensors.get("a")!)),
    /type I16/,
  );
});

test("fuzz: damaged files end in a value or a named error", () => {
  const good: [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
    ["llama2c", llama2cFile(), decodeLlama2c],
    [
      "safetensors",
      safetensorsFile(huggingFaceTensors(), "F16"),
      (tensors) => decodeHuggingFace({ config: configFile(), tensors }),
    ],
    [
      "config",
      configFile(),
      (config) =>
        decodeHuggingFace({ config, tensors: safetensorsFile(huggingFaceTensors(), "F16") }),
    ],
    ["tokenizer", tokenizerFile([" ", "a", "b", "ab"]), (file) => new PieceTokenizer(file)],
  ];
  for (const [name, file, decode] of good) {
    const edit = fc.record({
      at: fc.nat(name === "safetensors" ? 2500 : Math.min(file.length - 1, 4000)),
      byte: fc.nat(255),
    });
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(file.length)),
        (edits, cut) => {
          const bytes = file.slice(0, cut ?? file.length);
          for (const { at, byte } of edits) if (at < bytes.length) bytes[at] = byte;
          if (errorOf(() => decode(bytes)) !== "no error") refused++;
        },
      ),
      { seed, numRuns: name === "config" ? 150 : 400 },
    );
    assert.ok(refused > 50, `${name}: ${refused} refused`);
  }
});

test("identity covers weights, shape, settings and precision", () => {
  const source = decodeLlama2c(llama2cFile());
  const of = (changes: Partial<typeof source>, precision?: "w8a8" | "w14a14"): string =>
    prepareModel({ ...source, ...changes }, precision).identity.toHex();
  const gain = source.finalGain.map((x, i) => (i === 3 ? x + 1 : x));
  const ids = [
    of({}),
    of({}, "w8a8"),
    of({}, "w14a14"),
    of({ finalGain: gain }),
    of({ epsilon: 0 }),
    of({ rotaryInterleaved: false }),
    of({ rotaryTheta: 500000 }),
    of({ layers: source.layers.toReversed() }),
  ];
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(of({}), ids[0]);
  // End tokens are the caller's business: they change where a text stops, not what is computed.
  assert.equal(of({ endTokens: [5] }), ids[0]);
});

test("stories260k loads and has its published identity", { skip }, () => {
  const source = decodeLlama2c(readFileSync(join(stories, "stories260K.bin")));
  assert.deepEqual(source.shape, {
    width: 64,
    hidden: 172,
    layers: 5,
    heads: 8,
    kvHeads: 4,
    headSize: 8,
    vocabulary: 512,
    context: 512,
  });
  const identity = prepareModel(source, "w8a14").identity.toHex();
  assert.equal(identity.slice(0, 16), "2ffb2d56dc64b52a");
});
