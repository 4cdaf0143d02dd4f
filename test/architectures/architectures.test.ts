// Each architecture beside its reference: tiny models that transformers built (see vectors/SOURCE.md) give its
// logits and its tokens, from safetensors and from GGUF, before and after a prepared file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import process from "node:process";
import fc from "fast-check";
import { createReferenceBackend, createWasmBackend } from "gyrotron/backend";
import { concatBytes, GyrotronError, present } from "gyrotron/base";
import {
  byteSource,
  decodeGgufHeader,
  decodeGgufModel,
  decodeHuggingFace,
  decodePreparedFile,
  encodePreparedFile,
  type ModelSource,
  modelIdentity,
  type PreparedModel,
  prepareModel,
} from "gyrotron/model";
import type { Backend } from "gyrotron/tensor";

interface Expected {
  readonly prompt: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly greedy: readonly number[];
}

const NAMES = ["gpt2", "qwen2", "qwen3", "llama3", "linear"] as const;
type Name = (typeof NAMES)[number];

const fileOf = (name: Name, file: string): Uint8Array =>
  new Uint8Array(readFileSync(join(import.meta.dirname, "vectors", name, file)));

function fromHub(name: Name): ModelSource {
  const [config, tensors] = [fileOf(name, "config.json"), fileOf(name, "model.safetensors")];
  return decodeHuggingFace({ config, tensors });
}

function fromGguf(name: Name): ModelSource {
  const file = byteSource(fileOf(name, "model.gguf"));
  return decodeGgufModel(file, decodeGgufHeader(file));
}

const expectedOf = (name: Name): Expected =>
  JSON.parse(new TextDecoder().decode(fileOf(name, "expected.json"))) as Expected;

let backend: Backend;
before(async () => {
  backend = await createWasmBackend({ threads: 1 });
});
after(() => backend.close());

/** Logits of the prompt's positions, and the tokens after it. */
async function run(
  on: Backend,
  model: PreparedModel,
  { prompt, greedy }: Expected,
): Promise<{ logits: Float32Array[]; tokens: number[] }> {
  const decoder = await on.createDecoder(model.weights);
  const cache = decoder.createCache(prompt.length + greedy.length);
  const rows = prompt.map((token) => ({ cache, token, wantsLogits: true }));
  const logits = (await decoder.step(rows)).logits.map((row) => present(row));
  const tokens: number[] = [];
  let last = present(logits.at(-1));
  while (tokens.length < greedy.length) {
    const token = largestIndex(last);
    tokens.push(token);
    last = present((await decoder.step([{ cache, token, wantsLogits: true }])).logits[0]);
  }
  if (on !== backend) await decoder.close();
  return { logits, tokens };
}

function largestIndex(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

const worstCosine = (logits: readonly Float32Array[], expected: Expected): number =>
  Math.min(...logits.map((row, i) => cosine(row, expected.logits[i]!)));

for (const name of NAMES) {
  test(`${name}: logits and tokens are those of transformers`, async () => {
    const expected = expectedOf(name);
    const fine = await run(backend, prepareModel(fromHub(name), "w14a14"), expected);
    const worst = worstCosine(fine.logits, expected);
    assert.ok(worst > 0.9999, `cosine ${worst}`);
    assert.deepEqual(fine.tokens, expected.greedy);
    const standard = await run(backend, prepareModel(fromHub(name)), expected);
    const coarse = worstCosine(standard.logits, expected);
    assert.ok(coarse > 0.995, `cosine of the default precision ${coarse}`);
  });

  test(`${name}: the GGUF file of the same weights is the same model`, async () => {
    const expected = expectedOf(name);
    const [hub, gguf] = [fromHub(name), fromGguf(name)].map((source) =>
      prepareModel(source, "w14a14"),
    ) as [PreparedModel, PreparedModel];
    assert.deepEqual(gguf.shape, hub.shape);
    // Files of Llama hold the rows of Q and K in another order.
    const isReordered = name === "llama3" || name === "linear";
    if (!isReordered) assert.equal(gguf.identity.toHex(), hub.identity.toHex());
    const { logits, tokens } = await run(backend, gguf, expected);
    const worst = worstCosine(logits, expected);
    assert.ok(worst > 0.9999, `cosine ${worst}`);
    assert.deepEqual(tokens, expected.greedy);
  });

  test(`${name}: a prepared file holds all of it`, async () => {
    const model = prepareModel(fromHub(name), "w8a8");
    const tokenizer = { kind: "pieces", file: new Uint8Array(0) } as const;
    const frame = { kind: "plain", name: "continue", begins: true } as const;
    const bytes = concatBytes(...encodePreparedFile({ model, tokenizer, frame }));
    const again = decodePreparedFile(byteSource(bytes)).model;
    assert.deepEqual(modelIdentity(again.weights), model.identity);
    assert.deepEqual(again.design, model.design);
    const expected = expectedOf(name);
    const short = { ...expected, prompt: expected.prompt.slice(0, 5), greedy: [] };
    const [direct, reopened] = [await run(backend, model, short), await run(backend, again, short)];
    assert.deepEqual(reopened.logits, direct.logits);
    assert.deepEqual((await run(createReferenceBackend(), again, short)).logits, direct.logits);
  });
}

test("biases, gains, design and positions are part of the identity", () => {
  const of = (source: ModelSource): string => prepareModel(source, "w8a8").identity.toHex();
  const gpt2 = fromHub("gpt2");
  const qwen3 = fromHub("qwen3");
  const changed = (vector: Float32Array): Float32Array => vector.with(3, vector[3]! + 0.25);
  const firstLayer = (source: ModelSource, name: "downBias" | "queryGain"): ModelSource => ({
    ...source,
    layers: source.layers.map((layer, i) => {
      if (i > 0) return layer;
      return { ...layer, [name]: changed(present(layer[name])) };
    }),
  });
  const { rotaryScaling, ...unscaled } = fromHub("linear");
  assert.ok(rotaryScaling !== undefined);
  const places = present(gpt2.positions);
  const moved: ModelSource = {
    ...gpt2,
    positions: { ...places, rows: (first, count) => changed(places.rows(first, count)) },
  };
  const identities = [
    ...[gpt2, firstLayer(gpt2, "downBias"), moved],
    { ...gpt2, finalNormBias: changed(present(gpt2.finalNormBias)) },
    ...[qwen3, firstLayer(qwen3, "queryGain")],
    ...[fromHub("linear"), unscaled],
  ].map(of);
  assert.equal(new Set(identities).size, identities.length);
});

type Edits = readonly { readonly at: number; readonly byte: number }[];

/** Runs `open`, whose damage may end in a value or in a named error, and says whether it was refused. */
function isRefused(open: () => unknown): boolean {
  try {
    open();
    return false;
  } catch (error) {
    assert.ok(error instanceof GyrotronError, String(error));
    return true;
  }
}

test("fuzz: damaged files of each architecture end in a value or a named error", () => {
  const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
  let refused = 0;
  let runs = 0;
  const edit = fc.record({ at: fc.nat(), byte: fc.nat(255) });
  const edits = fc.array(edit, { minLength: 1, maxLength: 3 });
  const damage = (file: Uint8Array, changes: Edits): Uint8Array => {
    const bytes = file.slice();
    // Heads of files more often than weights.
    for (const { at, byte } of changes) bytes[at % Math.min(bytes.length, 3000)] = byte;
    return bytes;
  };
  for (const name of NAMES) {
    const [config, tensors] = [fileOf(name, "config.json"), fileOf(name, "model.safetensors")];
    const gguf = fileOf(name, "model.gguf");
    const prepared = concatBytes(
      ...encodePreparedFile({
        model: prepareModel(fromHub(name), "w8a8"),
        tokenizer: { kind: "pieces", file: new Uint8Array(0) },
        frame: { kind: "plain", name: "continue", begins: true },
      }),
    );
    const targets = [
      (changes: Edits) =>
        decodeHuggingFace({ config: damage(config, changes), tensors: byteSource(tensors) }),
      (changes: Edits) =>
        decodeHuggingFace({ config, tensors: byteSource(damage(tensors, changes)) }),
      (changes: Edits) => {
        const file = byteSource(damage(gguf, changes));
        return decodeGgufModel(file, decodeGgufHeader(file));
      },
      (changes: Edits) => decodePreparedFile(byteSource(damage(prepared, changes))),
    ];
    for (const target of targets) {
      fc.assert(
        fc.property(edits, (changes) => {
          runs++;
          if (isRefused(() => target(changes))) refused++;
        }),
        { seed, numRuns: 60 },
      );
    }
  }
  assert.ok(refused > runs / 4, `${refused} of ${runs} refused`);
});
