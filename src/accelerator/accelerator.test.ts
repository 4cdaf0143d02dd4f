// Goal: a job's result is a matter of the job and the model alone. Method: one tiny model, made here
// from random numbers; threads, chunks, company and the oracle must not change a byte.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createReferenceBackend, createWasmBackend } from "gyrotron/backend";
import { concatBytes, equalBytes, utf8Bytes } from "gyrotron/base";
import { decodeJobResult, type Job, jobResultHash, macsOf, promptTokensMax } from "gyrotron/job";
import { createGenerator, type TextGenerator } from "gyrotron/learn";
import { type Backend, decoderCost } from "gyrotron/tensor";
import { loadLanguageModel, runJob } from "./index.ts";

const CONTEXT = 48;
const LETTERS = " abcdefghijklmnopqrstuvwxyz";
const FIRST_PIECE = 259;
const model = loadLanguageModel("tiny", { format: "llama2c", ...tinyFiles() });

suite("jobs on a model", () => {
  test("threads, chunks and the oracle give the same bytes", async () => {
    const expected = await resultOn(createReferenceBackend(), {});
    const result = decodeJobResult(expected);
    assert.ok(result.kind === "completed" && result.outputTokens === 20 && result.text.length > 5);
    for (const options of [{ chunk: 1 }, { chunk: 3 }, {}]) {
      for (const threads of [1, 2]) {
        const bytes = await resultOn(await createWasmBackend({ threads }), options);
        assert.deepEqual(bytes, expected, `${threads} threads, chunks of ${options.chunk}`);
      }
    }
  });

  test("two jobs at once on one device give what each gives alone", async () => {
    await withGenerator(async (generator) => {
      const jobs = [jobOf("the cat", { seed: 1n }), jobOf("a dog and", { seed: 2n })];
      const together = await Promise.all(jobs.map((job) => runJob(model, generator, job)));
      for (const [i, job] of jobs.entries()) {
        const alone = await runJob(model, generator, job);
        assert.deepEqual(together[i]?.encoded, alone.encoded);
      }
      assert.notDeepEqual(together[0]?.encoded, together[1]?.encoded);
    });
  });

  test("every preview is a prefix of the next and the last of the answer", async () => {
    await withGenerator(async (generator) => {
      for (let seed = 0n; seed < 8n; seed++) {
        const previews: string[] = [];
        const job = jobOf("once upon", { seed, outputTokensMax: 30 });
        const { result } = await runJob(model, generator, job, (text) => previews.push(text));
        assert.ok(result.kind === "completed");
        assert.ok(previews.length > 1);
        [...previews, result.text].reduce((shorter, longer) => {
          assert.ok(longer.startsWith(shorter), `${longer} goes on from ${shorter}`);
          return longer;
        }, "");
      }
    });
  });

  test("the seed, the temperature and the limit matter", async () => {
    await withGenerator(async (generator) => {
      const run = async (job: Job): Promise<string> =>
        jobResultHash((await runJob(model, generator, job)).encoded).toHex();
      const jobs = [
        jobOf("the cat", {}),
        jobOf("the cat", { seed: 6n }),
        jobOf("the cat", { outputTokensMax: 19 }),
        jobOf("the dog", {}),
        { ...jobOf("the cat", {}), sampling: { temperature: 0, topK: 0, topP: 65_536, seed: 5n } },
      ];
      const hashes = await Promise.all(jobs.map(run));
      assert.equal(new Set(hashes).size, jobs.length);
      assert.equal(await run(jobs[0]!), hashes[0]);
    });
  });

  test("of a conversation, the user's last message is continued", async () => {
    await withGenerator(async (generator) => {
      const asked = jobOf("the cat", {});
      const before = [
        { role: "system", content: "be kind" },
        { role: "user", content: "hello" },
        { role: "assistant", content: "hello you" },
      ] as const;
      const conversation = { ...asked, messages: [...before, ...asked.messages] };
      const { encoded } = await runJob(model, generator, conversation);
      assert.deepEqual(encoded, (await runJob(model, generator, asked)).encoded);
    });
  });

  test("a prompt that leaves no room for a token is a result, the longest that does is answered", async () => {
    await withGenerator(async (generator) => {
      // Begin and the blank in front are tokens too.
      const long = (tokens: number): Job => jobOf("~".repeat(tokens - 2), { outputTokensMax: 5 });
      const fits = await runJob(model, generator, long(CONTEXT - 1));
      assert.ok(fits.result.kind === "completed");
      assert.equal(fits.result.promptTokens, CONTEXT - 1);
      const { result, tokens } = await runJob(model, generator, long(CONTEXT));
      const detail = `${CONTEXT} tokens, at most ${CONTEXT - 1} fit`;
      assert.deepEqual(result, { kind: "failed", reason: "promptTooLong", detail });
      assert.deepEqual(tokens, []);
    });
  });
});

suite("the record of a model", () => {
  test("its costs are those of the decoder's formula", () => {
    const { shape, precision } = model.prepared;
    for (const [prompt, output] of [
      [1, 0],
      [7, 0],
      [12, 30],
      [2900, 1000],
    ] as const) {
      let macs = 0n;
      for (let first = 0; first < prompt + output; first++) {
        macs += decoderCost(shape, precision, { first, count: 1, logits: 1 }).multiplyAdds;
      }
      assert.equal(macsOf(model.record, prompt, output), macs);
    }
  });

  test("no prompt has more tokens than the quote reckons with", async () => {
    await withGenerator(async (generator) => {
      for (const text of ["", "a", "the cat", "~~~", "äöü", "日本", "🐈 cat", "  two  blanks "]) {
        const job = jobOf(text, { outputTokensMax: 1 });
        const { result } = await runJob(model, generator, job);
        assert.ok(result.kind === "completed");
        const most = promptTokensMax(model.record, job.messages, (s) => utf8Bytes(s).length);
        assert.ok(result.promptTokens <= most, `${text}: ${result.promptTokens} of ${most}`);
      }
    });
  });

  test("its identity covers weights, tokenizer and precision", () => {
    const files = tinyFiles();
    const changedWeights = files.weights.slice();
    changedWeights[200]! ^= 1;
    const changedTokenizer = files.tokenizer.slice();
    changedTokenizer[changedTokenizer.length - 1]! ^= 1;
    const identities = [
      model,
      loadLanguageModel("tiny", { format: "llama2c", ...files, weights: changedWeights }),
      loadLanguageModel("tiny", { format: "llama2c", ...files, tokenizer: changedTokenizer }),
      loadLanguageModel("tiny", { format: "llama2c", ...files }, { precision: "w14a14" }),
    ].map(({ record }) => record.hash.toHex());
    assert.equal(new Set(identities).size, identities.length);
    const again = loadLanguageModel("other name", { format: "llama2c", ...files });
    assert.ok(equalBytes(again.record.hash, model.record.hash), "a name is no part of it");
  });
});

async function resultOn(backend: Backend, options: { chunk?: number }): Promise<Uint8Array> {
  const generator = await createGenerator(model.prepared, { backend, ...options });
  const { encoded } = await runJob(model, generator, jobOf("the quick brown fox jumps", {}));
  await generator.close();
  await backend.close();
  return encoded;
}

async function withGenerator(use: (generator: TextGenerator) => Promise<void>): Promise<void> {
  const backend = await createWasmBackend();
  const generator = await createGenerator(model.prepared, { backend });
  try {
    await use(generator);
  } finally {
    await generator.close();
    await backend.close();
  }
}

function jobOf(content: string, changes: { seed?: bigint; outputTokensMax?: number }): Job {
  const { seed = 5n, outputTokensMax = 20 } = changes;
  return {
    modelHash: model.record.hash,
    messages: [{ role: "user", content }],
    outputTokensMax,
    sampling: { temperature: 70_000, topK: 0, topP: 62_000, seed },
  };
}

/** A llama2.c checkpoint of random weights and a tokenizer of bytes, letters and a few pairs. */
function tinyFiles(): { weights: Uint8Array; tokenizer: Uint8Array } {
  const pieces = [...LETTERS, "th", "the", " t", " c", "ca", "an"];
  const vocabulary = FIRST_PIECE + pieces.length;
  const [width, hidden, layers, heads, kvHeads] = [24, 40, 2, 4, 2];
  const headSize = width / heads;
  const keys = kvHeads * headSize;
  const perLayer = 2 * width + 2 * width * width + 2 * keys * width + 3 * hidden * width;
  const count = vocabulary * width + layers * perLayer + width + CONTEXT * headSize;
  const header = Int32Array.of(width, hidden, layers, heads, kvHeads, vocabulary, CONTEXT);
  let state = 0x9e3779b9;
  const floats = Float32Array.from({ length: count }, () => {
    // Marsaglia's xorshift: any numbers do, if they are always the same.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 33;
  });
  return {
    weights: concatBytes(new Uint8Array(header.buffer), new Uint8Array(floats.buffer)),
    tokenizer: tokenizerFile(pieces),
  };
}

function tokenizerFile(pieces: readonly string[]): Uint8Array {
  const bytePieces = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const all = ["<unk>", "\n<s>\n", "\n</s>\n", ...bytePieces, ...pieces];
  const entries = all.flatMap((piece, id) => {
    const bytes = utf8Bytes(piece);
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat32(0, id < FIRST_PIECE ? 0 : -id, true);
    head.setInt32(4, bytes.length, true);
    return [new Uint8Array(head.buffer), bytes];
  });
  return concatBytes(new Uint8Array(Int32Array.of(8).buffer), ...entries);
}
