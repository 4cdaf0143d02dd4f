// Generation: invariance of all logits, streaming, sampling, digests, quotes, failures.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createReferenceBackend, createWasmBackend } from "gyrotron/backend";
import { type ModelSource, prepareModel, type PreparedModel } from "gyrotron/model";
import {
  exp2Fraction as slowExp2,
  quantizeRow,
  temperatureScale,
  threefry,
} from "gyrotron/numerics";
import { type Backend, embeddingTable, type Precision } from "gyrotron/tensor";
import {
  createGenerator,
  type GenerationOutcome,
  type GenerationRequest,
  generationCost,
  GREEDY,
  quoteGeneration,
  sampleToken,
  type SamplingParameters,
  type TextGenerator,
} from "./index.ts";
import { exp2Fraction } from "./sampling.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const SHAPE = {
  width: 16,
  hidden: 28,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 4,
  vocabulary: 40,
  context: 64,
};
const WARM: SamplingParameters = { temperature: 60000, topK: 12, topP: 62000 };

/** A model of random weights, large enough to prefer some tokens clearly. */
function randomSource(changes: Partial<ModelSource> = {}): ModelSource {
  let stream = 0;
  const floats = (count: number, size: number): Float32Array => {
    stream++;
    return Float32Array.from({ length: count }, (_, i) => {
      const [draw] = threefry([stream, 7], [i, 0]);
      return (draw / 2 ** 31 - 1) * size;
    });
  };
  const gain = (): Float32Array => floats(16, 0.5).map((x) => 1 + x);
  const layer = (): ModelSource["layers"][number] => ({
    attentionGain: gain(),
    query: floats(256, 0.8),
    key: floats(128, 0.8),
    value: floats(128, 0.5),
    attentionOutput: floats(256, 0.5),
    feedForwardGain: gain(),
    gate: floats(448, 0.5),
    up: floats(448, 0.5),
    down: floats(448, 0.5),
  });
  return {
    shape: SHAPE,
    epsilon: Math.fround(1e-5),
    rotaryTheta: 10000,
    rotaryInterleaved: true,
    beginToken: 1,
    endTokens: [2],
    embedding: embeddingTable(floats(640, 1), 16),
    layers: [layer(), layer()],
    finalGain: gain(),
    classifier: undefined,
    ...changes,
  };
}

/** The numbers of a source's embedding. */
function tableValues({ embedding }: ModelSource): Float32Array {
  return embedding.rows(0, embedding.vocabulary);
}

const source = randomSource({ endTokens: [] });

function request(changes: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    promptTokens: [1, 9, 30, 4, 4, 17, 22, 8],
    maxTokens: 30,
    sampling: WARM,
    seed: 42n,
    ...changes,
  };
}

/** Everything a generation shows: outcome, tokens as they came, all their logits. */
async function trace(
  model: PreparedModel,
  backend: Backend,
  requests: readonly GenerationRequest[],
  chunk?: number,
): Promise<string[]> {
  const generator = await createGenerator(model, {
    backend,
    ...(chunk !== undefined && { chunk }),
  });
  try {
    const seen: string[] = requests.map(() => "");
    const outcomes = await generator.generateBatch(
      requests.map((r, i) => ({
        ...r,
        onToken({ token, position, logits, digest }) {
          const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
          seen[i] += `${position}:${token}:${bytes.toHex()}:${digest.toHex()}\n`;
        },
      })),
    );
    return outcomes.map((outcome, i) => `${describe(outcome)}\n${seen[i]}`);
  } finally {
    await generator.close();
    await backend.close();
  }
}

function describe(outcome: GenerationOutcome): string {
  if (outcome.kind !== "done") return JSON.stringify(outcome);
  const { tokens, finish, drawn, digest } = outcome;
  return `${tokens.join()} ${finish} ${drawn} ${digest.toHex()}`;
}

for (const precision of ["w8a8", "w8a14", "w14a14"] satisfies Precision[]) {
  test(`${precision}: oracle, threads, chunks and batches agree on all logits`, async () => {
    const model = prepareModel(source, precision);
    const requests = [
      request(),
      request({ promptTokens: [1], seed: 7n, sequence: 3 }),
      request({ promptTokens: [1, 5, 5, 2, 39, 0, 11], maxTokens: 9, sampling: GREEDY }),
    ];
    const alone: string[] = [];
    for (const r of requests)
      alone.push(...(await trace(model, await createWasmBackend(), [r], 1)));
    assert.ok(alone.every((text) => text.includes("length")));
    const settings = [
      { threads: 1, fill: 0x55 },
      { threads: 2, fill: 0xff },
    ];
    for (const options of settings) {
      for (const chunk of [1, 3, 64]) {
        assert.deepEqual(
          await trace(model, await createWasmBackend(options), requests, chunk),
          alone,
        );
      }
    }
    assert.deepEqual(
      await trace(model, await createWasmBackend(), requests.toReversed()),
      alone.toReversed(),
    );
    const short = requests.map((r) => ({ ...r, maxTokens: 3 }));
    assert.deepEqual(
      await trace(model, createReferenceBackend(), short),
      await trace(model, await createWasmBackend(), short),
    );
  });
}

test("prefill gives the logits of decoding: a prompt may end anywhere", async () => {
  const model = prepareModel(source);
  const [whole] = await trace(model, await createWasmBackend(), [
    request({ sampling: GREEDY, maxTokens: 10 }),
  ]);
  const tokens = whole!.split(" ")[0]!.split(",").map(Number);
  const lines = whole!.trim().split("\n").slice(1);
  assert.equal(lines.length, 10);
  for (const count of [1, 4, 9]) {
    const promptTokens = [...request().promptTokens, ...tokens.slice(0, count)];
    const [later] = await trace(model, await createWasmBackend(), [
      request({ promptTokens, sampling: GREEDY, maxTokens: 1 }),
    ]);
    const logitsOf = (line: string): string => line.split(":").slice(0, 3).join(":");
    assert.equal(logitsOf(later!.trim().split("\n")[1]!), logitsOf(lines[count]!));
  }
});

test("seed, sequence and parameters choose the text; the same choice repeats it", async () => {
  const model = prepareModel(source);
  const texts = await trace(model, await createWasmBackend(), [
    request(),
    request(),
    request({ seed: 43n }),
    request({ seed: 42n + (1n << 32n) }),
    request({ sequence: 1 }),
    request({ sampling: GREEDY }),
  ]);
  assert.equal(texts[0], texts[1]);
  assert.equal(new Set(texts).size, 5);
});

test("more sequences than rows of a step: all end, none is starved", async () => {
  const model = prepareModel(source);
  const many = Array.from({ length: 70 }, (_, i) => request({ seed: BigInt(i), maxTokens: 4 }));
  const together = await trace(model, await createWasmBackend(), many);
  const [last] = await trace(model, await createWasmBackend(), [many[69]!]);
  assert.equal(together[69], last);
});

test("a text ends at an end token, at its limit, or with the context", async () => {
  const model = prepareModel(randomSource({ endTokens: [] }));
  const greedy = request({ sampling: GREEDY, maxTokens: 1000 });
  const generator = await createGenerator(model, { backend: await createWasmBackend() });
  const full = await generator.generate(greedy);
  assert.ok(full.kind === "done" && full.finish === "context");
  assert.equal(full.drawn, 64 - 8 + 1);
  const stop = full.tokens[5]!;
  const stopping = await createGenerator(
    { ...model, endTokens: [stop] },
    { backend: await createWasmBackend() },
  );
  const ended = await stopping.generate(greedy);
  assert.ok(ended.kind === "done" && ended.finish === "end");
  const first = full.tokens.indexOf(stop);
  assert.deepEqual(ended.tokens, full.tokens.slice(0, first));
  assert.equal(ended.drawn, first + 1);
  assert.deepEqual(ended.cost, generationCost(model, 8, first + 1));
  await generator.close();
  await stopping.close();
});

test("cancelling ends one sequence and leaves the others", async () => {
  const model = prepareModel(source);
  const generator = await createGenerator(model, { backend: await createWasmBackend() });
  let count = 0;
  const [cancelled, other] = await generator.generateBatch([
    request({ onToken: () => void count++, isCancelled: () => count >= 3 }),
    request(),
  ]);
  assert.deepEqual(cancelled, { kind: "cancelled" });
  assert.deepEqual(other, await generator.generate(request()));
  // Two generations at once share the decoder step by step.
  const both = await Promise.all([
    generator.generate(request()),
    generator.generate(request({ seed: 1n })),
  ]);
  assert.deepEqual(both[0], other);
  await generator.close();
});

test("a value that is not finite is an outcome that names its place, equal on all backends", async () => {
  const broken = randomSource({ finalGain: new Float32Array(16).fill(2 ** 126) });
  const values = tableValues(broken);
  const loud = values.map((x, i) => (Math.floor(i / 16) === 17 ? x * 2 ** 100 : x));
  const embedding = embeddingTable(loud, 16);
  const model = prepareModel({ ...broken, embedding });
  for (const backend of [createReferenceBackend(), await createWasmBackend({ threads: 2 })]) {
    const generator = await createGenerator(model, { backend });
    const outcome = await generator.generate(request());
    assert.deepEqual(outcome, { kind: "non-finite", failure: { position: 7, op: "logits" } });
    await generator.close();
    await backend.close();
  }
});

test("requests that cannot run are refused before anything runs", async () => {
  const generator = await createGenerator(prepareModel(source), {
    backend: await createWasmBackend(),
  });
  const refused = (changes: Partial<GenerationRequest>, what: RegExp): Promise<void> =>
    assert.rejects(generator.generate(request(changes)), what);
  await refused({ promptTokens: [] }, /learn\/prompt-empty/);
  await refused(
    { promptTokens: Array(65).fill(1) },
    /learn\/prompt-too-long \(tokens: 65, context: 64\)/,
  );
  await refused({ promptTokens: [40] }, /learn\/token-unknown/);
  await refused({ promptTokens: [1.5] }, /learn\/token-unknown/);
  await refused({ maxTokens: 0 }, /learn\/parameter \(name: maxTokens/);
  await refused({ sequence: -1 }, /sequence/);
  await refused({ sampling: { ...WARM, topP: 0 } }, /topP/);
  await refused({ sampling: { ...WARM, temperature: 0.7 } }, /temperature/);
  await refused({ sampling: { ...WARM, topK: -1 } }, /topK/);
  await generator.close();
});

test("the quote holds: no generation costs more, and the longest costs just that", () => {
  const model = prepareModel(source);
  const quote = quoteGeneration(model, 8, 20);
  assert.deepEqual(quote, generationCost(model, 8, 20));
  for (let drawn = 0; drawn < 20; drawn++) {
    const cost = generationCost(model, 8, drawn);
    assert.ok(cost.multiplyAdds < quote.multiplyAdds && cost.bytes < quote.bytes);
  }
  // What the context forbids is not quoted.
  assert.deepEqual(quoteGeneration(model, 60, 1000), quoteGeneration(model, 60, 5));
  // By hand: one position is the layers' matrices, 2 * heads * headSize products of attention a layer, the classifier.
  const layer = 256 + 128 + 128 + 256 + 3 * 448;
  assert.equal(quoteGeneration(model, 1, 1).multiplyAdds, BigInt(2 * (layer + 2 * 16) + 640));
  const wide = prepareModel(source, "w14a14");
  assert.ok(quoteGeneration(wide, 8, 20).bytes > quote.bytes);
});

/** Section 12 in BigInt, for weights: what the fast program must equal. */
function slowSample(logits: Float32Array, p: SamplingParameters, random: bigint): number {
  const { mantissas, exponent } = quantizeRow(logits, 24);
  const top = mantissas.reduce((a, b) => (a > b ? a : b));
  const scale = temperatureScale(p.temperature);
  const candidates = mantissas.map((m, i) => {
    const shift = scale.exponent + exponent + 16;
    const product = (m - top) * BigInt(scale.mantissa);
    const z = shift >= 0 ? product << BigInt(shift) : product >> BigInt(-shift);
    const k = -(z >> 16n);
    return { i, w: (BigInt(slowExp2(Number(z & 65535n))) << 16n) >> k };
  });
  candidates.sort((a, b) => (a.w === b.w ? a.i - b.i : a.w > b.w ? -1 : 1));
  const first = p.topK === 0 ? candidates : candidates.slice(0, p.topK);
  const total = first.reduce((sum, { w }) => sum + w, 0n);
  const kept: typeof first = [];
  let sum = 0n;
  for (const candidate of first) {
    if (65536n * sum >= BigInt(p.topP) * total) break;
    kept.push(candidate);
    sum += candidate.w;
  }
  const least = first[0]!.w * BigInt(p.minP ?? 0);
  while (65536n * kept.at(-1)!.w < least) sum -= kept.pop()!.w;
  kept.sort((a, b) => a.i - b.i);
  const target = (random * sum) >> 64n;
  let running = 0n;
  for (const { i, w } of kept) {
    running += w;
    if (running > target) return i;
  }
  return -1;
}

test("sampling is its definition", () => {
  const logit = fc.oneof(
    fc.integer({ min: -4000, max: 4000 }).map((n) => Math.fround(n / 97)),
    fc.constantFrom(0, 1, 1, 2 ** -140, 2 ** 100, -(2 ** 100), 3.4028234663852886e38),
  );
  fc.assert(
    fc.property(
      fc.array(logit, { minLength: 1, maxLength: 30 }),
      fc.record({
        temperature: fc.integer({ min: 1, max: 2 ** 20 }),
        topK: fc.nat(20),
        topP: fc.oneof(fc.integer({ min: 1, max: 65536 }), fc.constant(65536)),
        minP: fc.oneof(fc.constant(0), fc.nat(65536)),
      }),
      fc.bigInt(0n, (1n << 64n) - 1n),
      (values, parameters, random) => {
        const logits = Float32Array.from(values);
        assert.equal(
          sampleToken(logits, parameters, () => random),
          slowSample(logits, parameters, random),
        );
      },
    ),
    { seed, numRuns: 1500 },
  );
  for (let f = 0; f < 65536; f++) assert.equal(exp2Fraction(f), slowExp2(f));
  // Enough tokens that most are left out before any are sorted, and that weights are often alike.
  for (let i = 0; i < 40; i++) {
    const [draw, other] = threefry([seed, 3], [i, 0]);
    const spread = 2 + (draw % 40);
    const logits = Float32Array.from(
      { length: 1500 },
      (_, token) => (threefry([i, 4], [token, 0])[0] % 1000) / (4000 / spread),
    );
    const parameters = {
      temperature: 20000 + (other % 60000),
      topK: [0, 1, 40, 400][i % 4]!,
      topP: [65536, 60000, 30000][i % 3]!,
      minP: [0, 0, 0, 2000, 40000][i % 5]!,
    };
    const random = (BigInt(draw) << 32n) | BigInt(other);
    assert.equal(
      sampleToken(logits, parameters, () => random),
      slowSample(logits, parameters, random),
    );
  }
});

test("sampling follows the distribution", () => {
  const logits = Float32Array.of(0, Math.log(2), Math.log(4), -100);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 7000; i++) {
    const [low, high] = threefry([1, 2], [i, 0]);
    const random = (BigInt(high) << 32n) | BigInt(low);
    counts[sampleToken(logits, { temperature: 65536, topK: 0, topP: 65536 }, () => random)]!++;
  }
  assert.ok(Math.abs(counts[0]! - 1000) < 120 && Math.abs(counts[1]! - 2000) < 150);
  assert.equal(counts[3], 0);
  assert.equal(
    sampleToken(Float32Array.of(1, 3, 3), GREEDY, () => 0n),
    1,
  );
});

test("kept caches spare work and change no bit", async () => {
  const model = prepareModel(source);
  const kept = await createGenerator(model, { backend: await createWasmBackend() });
  const plain = await createGenerator(model, {
    backend: await createWasmBackend(),
    keptCaches: 0,
  });
  const shared = [1, 9, 30, 4, 4, 17, 22, 8, 3, 3, 12, 39];
  const prompts = [
    [...shared, 5],
    [...shared, 6, 7],
    shared,
    [...shared.slice(0, 9), 20, 21],
    [2, ...shared],
    [...shared, 6, 7, 8],
  ];
  for (const [i, promptTokens] of prompts.entries()) {
    const asked = request({ promptTokens, seed: BigInt(i) });
    assert.deepEqual(await kept.generate(asked), await plain.generate(asked));
  }
  // A prompt that goes on where a text ended runs what is new: the last token drawn has not run.
  const first = await kept.generate(request({ promptTokens: shared, seed: 2n }));
  assert.ok(first.kind === "done");
  const before = kept.work.run;
  const promptTokens = [...shared, ...first.tokens, 11];
  const asked = request({ promptTokens, maxTokens: 1 });
  assert.deepEqual(await kept.generate(asked), await plain.generate(asked));
  assert.equal(kept.work.run - before, 2);
  assert.equal(plain.work.spared, 0);
  assert.ok(kept.work.spared > 60, `${kept.work.spared} spared`);
  await kept.close();
  await plain.close();
});

test("a draft model that guesses changes time and no bit, however well it guesses", async () => {
  const model = prepareModel(source);
  const plain = await createGenerator(model, { backend: await createWasmBackend() });
  const requests = [
    request(),
    request({ sampling: GREEDY, seed: 5n }),
    request({ promptTokens: [1], maxTokens: 64, seed: 9n }),
    request({ sampling: { ...WARM, temperature: 8000 }, maxTokens: 7 }),
  ];
  const expected = await plain.generateBatch(requests);
  const steps: number[] = [];
  for (const draftSource of [
    source,
    randomSource({ endTokens: [], finalGain: new Float32Array(16).fill(1.5) }),
  ]) {
    for (const tokens of [1, 4]) {
      const draft = await createGenerator(prepareModel(draftSource, "w8a8"), {
        backend: await createWasmBackend(),
      });
      const backend = await createWasmBackend({ threads: 2, fill: 0xff });
      const guessing = await createGenerator(model, {
        backend,
        draft: { generator: draft, tokens },
      });
      const logits: string[][] = requests.map(() => []);
      const seen = await guessing.generateBatch(
        requests.map((r, i) => ({
          ...r,
          onToken: ({ digest }) => void logits[i]!.push(digest.toHex()),
        })),
      );
      assert.deepEqual(seen, expected);
      assert.ok(logits[0]!.length === 30);
      steps.push(guessing.work.run);
      await guessing.close();
      await draft.close();
    }
  }
  const rows = plain.work.run;
  assert.ok(
    steps.every((run) => run >= rows),
    "guesses run too",
  );
  assert.equal(new Set(steps).size, 4, "models and lengths guess differently");
  await plain.close();
});

/** The largest f32. */
const LARGEST = 3.4028234663852886e38;

test("a wrong guess that is not finite fails nobody", async () => {
  const quiet = randomSource({ endTokens: [] });
  const draftModel = prepareModel({
    ...quiet,
    finalGain: new Float32Array(16),
    classifier: embeddingTable(tableValues(quiet), 16),
  });
  const open = async (prepared: PreparedModel, draft?: TextGenerator): Promise<TextGenerator> => {
    const backend = await createWasmBackend();
    return createGenerator(prepared, {
      backend,
      ...(draft !== undefined && { draft: { generator: draft, tokens: 3 } }),
    });
  };
  const asked = request({
    sampling: GREEDY,
    adjustments: { bias: new Map([[0, -(2 ** 22)]]) },
    promptTokens: [1, 9, 30],
    maxTokens: 6,
  });
  // All logits of the draft are 0, so that it says token 0, on which the model overflows; a bias keeps the
  // model from saying it.
  const overflowing = prepareModel({
    ...quiet,
    classifier: embeddingTable(tableValues(quiet), 16),
    embedding: embeddingTable(
      tableValues(quiet).map((x, i) => (i < 16 ? LARGEST : x)),
      16,
    ),
    layers: quiet.layers.map((layer) => ({
      ...layer,
      attentionOutput: layer.attentionOutput.map((x) => x * 2 ** 112),
    })),
  });
  const target = await open(overflowing);
  const wanted = await target.generate(asked);
  assert.equal(wanted.kind, "done");
  const failing = await target.generate(request({ promptTokens: [1, 9, 30, 0] }));
  assert.equal(failing.kind, "non-finite");
  const draft = await open(draftModel);
  const guessed = await draft.generate({ ...asked, adjustments: {} });
  assert.deepEqual(guessed.kind === "done" && guessed.tokens, [0, 0, 0, 0, 0, 0]);
  const guessing = await open(overflowing, draft);
  assert.deepEqual(await guessing.generate(asked), wanted);
  for (const generator of [target, draft, guessing]) await generator.close();
});
