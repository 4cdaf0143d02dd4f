// The real checkpoint: our arithmetic against binary64, and the pinned digest of a whole story.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { createReferenceBackend, createWasmBackend } from "gyrotron/backend";
import {
  decodeHuggingFace,
  decodeLlama2c,
  type ModelSource,
  prepareModel,
  PieceTokenizer,
} from "gyrotron/model";
import type { Backend, Precision } from "gyrotron/tensor";
import { createGenerator, type GenerationOutcome, GREEDY } from "./index.ts";

const shared = process.env["GYROTRON_SHARED"] ?? join(import.meta.dirname, "../../../shared");
const folder = join(shared, "models/stories260k");
const skip = existsSync(folder) ? false : `no checkpoint in ${folder}`;

const load = (): ModelSource => decodeLlama2c(readFileSync(join(folder, "stories260K.bin")));

async function generate(
  precision: Precision,
  backend: Backend,
  maxTokens: number,
): Promise<GenerationOutcome> {
  const generator = await createGenerator(prepareModel(load(), precision), { backend });
  const outcome = await generator.generate({
    promptTokens: [1],
    maxTokens,
    sampling: GREEDY,
    seed: 0n,
  });
  await generator.close();
  await backend.close();
  return outcome;
}

test("w14a14 keeps all 256 greedy tokens of floating point", { skip }, async () => {
  const outcome = await generate("w14a14", await createWasmBackend(), 256);
  assert.ok(outcome.kind === "done");
  const expected = floatGreedy(load(), 256);
  let kept = 0;
  while (kept < 256 && outcome.tokens[kept] === expected[kept]) kept++;
  assert.equal(kept, 256);
  const text = new PieceTokenizer(readFileSync(join(folder, "tok512.bin"))).decode(outcome.tokens);
  assert.ok(
    text.startsWith(
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.",
    ),
  );
});

test(
  "the story's digest is pinned, for one thread and two, and the oracle begins alike",
  { skip },
  async () => {
    const digests = {
      w8a8: "62d7ed5c20bbcb02",
      w8a14: "64334546c8ffa9b6",
      w14a14: "edbd0eb29f2be543",
    };
    for (const [precision, digest] of Object.entries(digests)) {
      for (const threads of [1, 2]) {
        const outcome = await generate(
          precision as Precision,
          await createWasmBackend({ threads }),
          256,
        );
        assert.ok(outcome.kind === "done");
        assert.equal(outcome.digest.toHex().slice(0, 16), digest);
      }
    }
    const [slow, fast] = [createReferenceBackend(), await createWasmBackend()];
    assert.deepEqual(await generate("w8a14", slow, 6), await generate("w8a14", fast, 6));
  },
);

const bundled = join(import.meta.dirname, "../../models/storyteller");
const skipBundled = existsSync(join(bundled, "model.safetensors")) ? false : "no bundled model";

test(
  "the bundled model: threads and oracle agree, its tokenizer fits",
  { skip: skipBundled },
  async () => {
    const [config, tensors, pieces] = ["config.json", "model.safetensors", "tokenizer.bin"].map(
      (name) => readFileSync(join(bundled, name)),
    ) as [Buffer, Buffer, Buffer];
    const model = prepareModel(decodeHuggingFace({ config, tensors }));
    const tokenizer = new PieceTokenizer(pieces);
    assert.equal(tokenizer.vocabulary, model.shape.vocabulary);
    const prompt = "The Fox and the Crow\n\n";
    assert.equal(tokenizer.decode(tokenizer.encode(prompt)), prompt);
    const long = [model.beginToken, ...tokenizer.encode(prompt)];
    const run = async (
      backend: Backend,
      promptTokens: readonly number[],
      maxTokens: number,
    ): Promise<GenerationOutcome> => {
      const generator = await createGenerator(model, { backend });
      const request = { promptTokens, maxTokens, sampling: GREEDY, seed: 0n };
      const outcome = await generator.generate(request);
      await generator.close();
      await backend.close();
      return outcome;
    };
    const one = await run(await createWasmBackend(), long, 40);
    assert.ok(one.kind === "done");
    assert.deepEqual(await run(await createWasmBackend({ threads: 2 }), long, 40), one);
    const slow = await run(createReferenceBackend(), long.slice(0, 1), 1);
    assert.deepEqual(await run(await createWasmBackend(), long.slice(0, 1), 1), slow);
  },
);

/** Greedy tokens by binary64 arithmetic and the host's own functions. */
function floatGreedy(source: ModelSource, count: number): number[] {
  const { width, heads, kvHeads, headSize, hidden, vocabulary } = source.shape;
  const cache = source.layers.map(() => ({
    keys: [] as Float64Array[],
    values: [] as Float64Array[],
  }));
  const tokens: number[] = [];
  let token = 1;
  for (let position = 0; position < count; position++) {
    let x = Float64Array.from(source.embedding.rows(token, 1));
    source.layers.forEach((layer, i) => {
      const { keys, values } = cache[i]!;
      const normed = rmsNorm(x, layer.attentionGain, source.epsilon);
      const query = rotate(product(layer.query, normed, width), headSize, position);
      keys.push(rotate(product(layer.key, normed, kvHeads * headSize), headSize, position));
      values.push(product(layer.value, normed, kvHeads * headSize));
      const attended = new Float64Array(width);
      for (let h = 0; h < heads; h++) {
        const group = Math.floor((h * kvHeads) / heads) * headSize;
        const scores = keys.map((key) => {
          let score = 0;
          for (let j = 0; j < headSize; j++) score += query[h * headSize + j]! * key[group + j]!;
          return score / Math.sqrt(headSize);
        });
        const top = Math.max(...scores);
        const shares = scores.map((score) => Math.exp(score - top));
        const total = shares.reduce((a, b) => a + b);
        shares.forEach((share, t) => {
          for (let j = 0; j < headSize; j++)
            attended[h * headSize + j]! += (share / total) * values[t]![group + j]!;
        });
      }
      const output = product(layer.attentionOutput, attended, width);
      x = x.map((v, j) => v + output[j]!);
      const second = rmsNorm(x, layer.feedForwardGain, source.epsilon);
      const up = product(layer.up, second, hidden);
      const gated = product(layer.gate!, second, hidden).map(
        (g, j) => (g / (1 + Math.exp(-g))) * up[j]!,
      );
      const down = product(layer.down, gated, width);
      x = x.map((v, j) => v + down[j]!);
    });
    const logits = product(
      source.embedding.rows(0, vocabulary),
      rmsNorm(x, source.finalGain, source.epsilon),
      vocabulary,
    );
    token = logits.indexOf(Math.max(...logits));
    tokens.push(token);
  }
  return tokens;
}

function rmsNorm(x: Float64Array, gain: Float32Array, epsilon: number): Float64Array {
  let sum = 0;
  for (const v of x) sum += v * v;
  const factor = 1 / Math.sqrt(sum / x.length + epsilon);
  return x.map((v, i) => v * factor * gain[i]!);
}

function product(matrix: Float32Array, x: Float64Array, outputs: number): Float64Array {
  return Float64Array.from({ length: outputs }, (_, r) => {
    let sum = 0;
    for (let k = 0; k < x.length; k++) sum += matrix[r * x.length + k]! * x[k]!;
    return sum;
  });
}

function rotate(x: Float64Array, headSize: number, position: number): Float64Array {
  const y = x.slice();
  for (let i = 0; i < x.length; i += 2) {
    const angle = position * 10000 ** (-(i % headSize) / headSize);
    y[i] = x[i]! * Math.cos(angle) - x[i + 1]! * Math.sin(angle);
    y[i + 1] = x[i]! * Math.sin(angle) + x[i + 1]! * Math.cos(angle);
  }
  return y;
}
