// The compliance suite of backends: whoever implements the contract passes it, with any settings. The
// caller names the tests' runner, so that this file needs neither Node's nor a browser's.

import { formatHex } from "gyrotron/base";
import {
  type Backend,
  type DecoderShape,
  type PackedMatrix,
  type SequenceCache,
  TensorError,
} from "gyrotron/tensor";
import { CaseValues } from "./case-values.ts";
import { expectedDigest, runConformance } from "./conformance.ts";
import {
  type DecoderOutcome,
  decoderCases,
  randomDecoder,
  runDecoderCase,
} from "./decoder-cases.ts";

/** What the suite asks of a test runner. */
export interface SuiteRunner {
  readonly test: (name: string, body: () => Promise<void>) => void;
  readonly equal: (actual: unknown, expected: unknown) => void;
}

/** Declares the suite's tests for backends made by `create`. */
export function declareBackendSuite(
  name: string,
  create: () => Promise<Backend>,
  { test, equal }: SuiteRunner,
): void {
  const using = async (body: (backend: Backend) => Promise<void>): Promise<void> => {
    const backend = await create();
    try {
      await body(backend);
    } finally {
      await backend.close();
    }
  };
  const check = (what: string, body: (backend: Backend) => Promise<void>): void =>
    test(`${name}: ${what}`, () => using(body));

  check("quick conformance", async (backend) => {
    const report = await runConformance(backend, "quick");
    equal(report.mismatches.join(" "), "");
    equal(report.digest, await expectedDigest("quick"));
  });

  check("permuting the contraction changes no bit, scaling scales", async (backend) => {
    await checkMatmulLaws(backend, equal);
  });

  check("rows do not see each other", async (backend) => {
    const v = new CaseValues("rows");
    const x = v.moderate(6 * 40);
    const whole = await quantized(backend, x, 40);
    for (let r = 0; r < 6; r++) {
      equal(whole[r], (await quantized(backend, x.subarray(r * 40, (r + 1) * 40), 40))[0]);
    }
  });

  check("prefill, chunked prefill, decoding and batches give the same logits", async (backend) => {
    const weights = randomDecoder("chunks", MEDIUM, "w8a14", true);
    const tokens = (seed: string): number[] => {
      const v = new CaseValues(seed);
      return Array.from({ length: 26 }, () => v.integer(0, MEDIUM.vocabulary - 1));
    };
    const run = async (
      sequences: readonly (readonly number[])[],
      chunk: number,
    ): Promise<DecoderOutcome> =>
      runDecoderCase(backend, { id: "chunks", weights, sequences, chunk });
    const [a, b] = [tokens("a"), tokens("b")];
    const alone = [...(await run([a], 1)), ...(await run([b], 1))].map(hexOf);
    for (const chunk of [3, 20]) {
      equal((await run([a, b], chunk)).map(hexOf).join(" "), alone.join(" "));
    }
    equal(hexOf((await run([b, a], 1))[1]!), alone[0]);
  });

  check("a sequence that fails leaves its neighbours alone", async (backend) => {
    const sample = decoderCases(false).find(({ id }) => id === "decoder/overflow")!;
    const [failed, other] = await runDecoderCase(backend, sample);
    equal(JSON.stringify(failed), '{"position":4,"op":"layer 1 feed-forward-residual"}');
    const healthy = sample.sequences[1]!;
    const [alone] = await runDecoderCase(backend, { ...sample, sequences: [healthy] });
    equal(hexOf(other!), hexOf(alone!));
    for (const chunk of [1, 5, 7]) {
      equal(
        JSON.stringify((await runDecoderCase(backend, { ...sample, chunk }))[0]),
        JSON.stringify(failed),
      );
    }
  });

  check("a cache has its capacity, and freed ones are refused", async (backend) => {
    const decoder = await backend.createDecoder(randomDecoder("capacity", MEDIUM, "w8a8", false));
    const cache = decoder.createCache(2);
    const row = { cache, token: 1, wantsLogits: false };
    await decoder.step([row, row]);
    equal(await codeOf(() => decoder.step([row])), "tensor/context-full");
    const again = await logitsOf(decoder, decoder.createCache(2));
    cache.free();
    equal(await codeOf(() => decoder.step([row])), "tensor/closed");
    // The next cache may lie where the freed one lay, with its rows still there.
    equal(await logitsOf(decoder, decoder.createCache(2)), again);
    await decoder.close();
  });

  check("a cache cut or copied goes on as if it had been run so far only", async (backend) => {
    const decoder = await backend.createDecoder(randomDecoder("forks", MEDIUM, "w8a14", true));
    const run = async (cache: SequenceCache, ...tokens: readonly number[]): Promise<string> => {
      const rows = tokens.map((token, i) => ({
        cache,
        token,
        wantsLogits: i === tokens.length - 1,
      }));
      const { logits } = await decoder.step(rows);
      return logits.at(-1)?.join() ?? "none";
    };
    const first = [5, 9, 30, 4, 17];
    const plain = decoder.createCache(40);
    const alone = await run(plain, ...first, 8, 2);
    const other = await run(plain, 11, 12, 13);
    const cut = decoder.createCache(40);
    await run(cut, ...first, 20, 21, 22, 23);
    // More slots than the cache has, and fewer; the copy lives on when its source is freed.
    const longer = cut.fork(5, 48);
    const shorter = cut.fork(5, 12);
    equal(longer.length, 5);
    cut.truncate(5);
    for (const cache of [cut, longer, shorter]) equal(await run(cache, 8, 2), alone);
    cut.free();
    await run(decoder.createCache(40), 40, 41, 42, 43, 44, 45, 46);
    for (const cache of [longer, shorter]) equal(await run(cache, 11, 12, 13), other);
    await decoder.close();
  });

  check("bad shapes are refused by name", async (backend) => {
    const x = new Float32Array(6);
    const columns = 4;
    equal(await codeOf(() => backend.run({ op: "silu", x, columns })), "tensor/shape-mismatch");
    equal(
      await codeOf(() => backend.run({ op: "quantize", x, columns: 3, bits: 17 })),
      "tensor/limit",
    );
    const tokens = Uint32Array.of(2);
    equal(
      await codeOf(() => backend.run({ op: "embed", table: x, columns: 3, tokens })),
      "tensor/shape-mismatch",
    );
  });
}

const MEDIUM: DecoderShape = {
  width: 24,
  hidden: 36,
  layers: 2,
  heads: 3,
  kvHeads: 1,
  headSize: 10,
  vocabulary: 50,
  context: 48,
};

async function checkMatmulLaws(backend: Backend, equal: SuiteRunner["equal"]): Promise<void> {
  const v = new CaseValues("laws");
  const k = 150;
  const left = v.bfp(3, k, 14, [-9, -5]);
  const weights = v.matrix(6, k, 14, [-12, -10]);
  const product = async (l: typeof left, w: typeof weights): Promise<Float32Array> => {
    const result = await backend.run({ op: "matmul", left: l, leftBits: 14, weights: w });
    return result.kind === "f32" ? result.values : new Float32Array(0);
  };
  const base = await product(left, weights);
  const order = Array.from({ length: k }, (_, i) => (i * 77 + 5) % k);
  const shuffled = <T extends Int32Array | PackedMatrix["mantissas"]>(m: T): T =>
    m.map((_, i) => m[Math.floor(i / k) * k + order[i % k]!]!) as T;
  const permuted = await product(
    { ...left, mantissas: shuffled(left.mantissas) },
    { ...weights, mantissas: shuffled(weights.mantissas) },
  );
  equal(base.length, 18);
  equal(permuted.join(), base.join());
  const scaled = await product({ ...left, exponents: left.exponents.map((e) => e + 7) }, weights);
  equal(scaled.join(), base.map((x) => x * 128).join());
  const negated = await product({ ...left, mantissas: left.mantissas.map((m) => -m) }, weights);
  equal(negated.join(), base.map((x) => 0 - x).join());
}

async function quantized(backend: Backend, x: Float32Array, columns: number): Promise<string[]> {
  const result = await backend.run({ op: "quantize", x, columns, bits: 14 });
  if (result.kind !== "bfp") return [];
  const { mantissas, exponents } = result.rows;
  return Array.from(
    exponents,
    (e, r) => `${e}:${mantissas.subarray(r * columns, (r + 1) * columns).join()}`,
  );
}

function hexOf(outcome: DecoderOutcome[number]): string {
  if ("op" in outcome) return `${outcome.position} ${outcome.op}`;
  return outcome
    .map((row) => formatHex(new Uint8Array(row.buffer, row.byteOffset, row.byteLength)))
    .join("|");
}

async function logitsOf(
  decoder: Awaited<ReturnType<Backend["createDecoder"]>>,
  cache: SequenceCache,
): Promise<string> {
  const { logits } = await decoder.step([
    { cache, token: 3, wantsLogits: false },
    { cache, token: 4, wantsLogits: true },
  ]);
  cache.free();
  return logits[1]?.join() ?? "none";
}

async function codeOf(body: () => Promise<unknown>): Promise<string> {
  try {
    await body();
    return "no error";
  } catch (error) {
    return error instanceof TensorError ? error.info.code : String(error);
  }
}
