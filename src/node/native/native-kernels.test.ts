// Goal: native kernels give the bits of the definition however they are compiled, and those that do not, or cannot be
// compiled, are refused by name. Method: this machine's C compiler, for its own processor and for lesser ones.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { PUBLISHED_CONFORMANCE, runConformance } from "gyrotron/backend";
import { createWasmBackend } from "gyrotron/backend/wasm";
import type { Job } from "gyrotron/job";
import type { BfpRows, OpCall, PackedMatrix } from "gyrotron/tensor";
import { startAccelerator } from "../jobs/threaded-accelerator.ts";
import { bundledModelPath } from "../models/model-folder.ts";
import { NodeError } from "../node-error.ts";
import { buildNativeKernels, type BuildOptions, openNativeBackend } from "./kernel-build.ts";

const SOURCES = join(import.meta.dirname, "../../backend/wasm/native");
const folder = mkdtempSync(join(tmpdir(), "gyrotron-native-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const notes: string[] = [];
const options: BuildOptions = { folder, note: (text) => void notes.push(text) };
const STRICT = ["-Wall", "-Wextra", "-Werror"];
const NO_COMPILER = problemOf(() => buildNativeKernels(options));
const skip = NO_COMPILER?.startsWith("there is no C compiler") === true && "needs a C compiler";

/** Processors that this one can stand for. */
const LESSER = process.arch === "x64" ? [["-march=x86-64-v3"], ["-march=x86-64"]] : [[]];
const KINDS = [
  { kind: "of this processor", processor: undefined, threads: 1 },
  { kind: "of this processor", processor: undefined, threads: 2 },
  ...LESSER.map((processor) => ({ kind: processor.join(" ") || "plain", processor, threads: 1 })),
];

for (const { kind, processor, threads } of KINDS) {
  test(`kernels ${kind} give the published digest, threads: ${threads}`, { skip }, async () => {
    const backend = await openKind(processor, threads);
    try {
      assert.equal(backend.name, "native");
      const { mismatches, digest } = await runConformance(backend, "quick");
      assert.deepEqual(mismatches, []);
      assert.equal(digest, PUBLISHED_CONFORMANCE.quick.digest);
    } finally {
      await backend.close();
    }
  });
}

for (const { kind, processor } of KINDS.slice(1)) {
  test(
    `products of every kind of shape are those of Wasm, by kernels ${kind}`,
    { skip },
    async () => {
      const native = await openKind(processor, 2);
      const wasm = await createWasmBackend();
      for (const call of products()) {
        const { weights, leftBits, left } = call;
        const what = `${left.exponents.length} rows, ${weights.inputs} by ${weights.outputs}, ${leftBits} and ${weights.bits} bits`;
        assert.deepEqual(await native.run(call), await wasm.run(call), what);
      }
      await Promise.all([native.close(), wasm.close()]);
    },
  );
}

test("sums of digits as large as they get, in 32 bits and beyond", { skip }, async () => {
  const native = await openNativeBackend({ ...options, threads: 2 });
  const wasm = await createWasmBackend();
  const [rows, outputs] = [40, 300];
  // Tiles take 1,984 k in 32 bits; 8,128 has digits of 64 and -64.
  for (const inputs of [1984, 1985, 6000])
    for (const mantissa of [8191, 8128, -8128]) {
      const call: OpCall = {
        ...{ op: "matmul", leftBits: 14 },
        left: {
          columns: inputs,
          mantissas: new Int32Array(rows * inputs).fill(mantissa),
          exponents: new Int32Array(rows),
        },
        weights: {
          ...{ inputs, outputs, bits: 14 },
          mantissas: new Int16Array(outputs * inputs).fill(Math.abs(mantissa)),
          scales: new Uint8Array(outputs).fill(129),
          exponents: new Int16Array(outputs),
        },
      };
      assert.deepEqual(await native.run(call), await wasm.run(call), `${inputs} of ${mantissa}`);
    }
  await Promise.all([native.close(), wasm.close()]);
});

test("shares whose sum passes 2^29 divide as integers", { skip }, async () => {
  const [positions, columns] = [40_001, 16];
  const rows = (count: number, exponent: number, mantissa: (i: number) => number): BfpRows => ({
    columns,
    mantissas: Int32Array.from({ length: count * columns }, (_, i) => mantissa(i)),
    exponents: new Int32Array(count).fill(exponent),
  });
  const call: OpCall = {
    ...{ op: "attention", heads: 1, kvHeads: 1, headSize: columns },
    queries: rows(1, -30, (i) => (i * 37) % 4000),
    keys: rows(positions, -30, (i) => ((i * 7919) % 8191) - 4095),
    values: rows(positions, 0, (i) => ((i * 104_729) % 8191) - 4095),
  };
  const native = await openNativeBackend({ ...options, threads: 1 });
  const wasm = await createWasmBackend();
  assert.deepEqual(await native.run(call), await wasm.run(call));
  await Promise.all([native.close(), wasm.close()]);
});

test("an accelerator on native kernels attests the same bytes", { skip }, async () => {
  const start = { modelPaths: [bundledModelPath()], threads: 1 };
  const native = buildNativeKernels(options);
  const both = await Promise.all([startAccelerator(start), startAccelerator({ ...start, native })]);
  const [{ hash: modelHash }] = both[0].models as [(typeof both)[0]["models"][0]];
  const job: Job = {
    ...{ modelHash, messages: [{ role: "user", content: "Once upon a time" }] },
    outputTokensMax: 9,
    sampling: { temperature: 39_322, topK: 0, topP: 58_982, seed: 4n },
  };
  const results = await Promise.all(both.map((accelerator) => accelerator.run(job, () => {})));
  assert.deepEqual(results[0], results[1]);
  assert.match(both[1].device, /^native: /);
  await Promise.all(both.map((accelerator) => accelerator.close()));
});

test("what has been compiled is found again", { skip }, () => {
  assert.match(notes[0] ?? "", /^building native kernels with \S+ .*\(once\)$/);
  const count = notes.length;
  const path = buildNativeKernels(options);
  assert.equal(buildNativeKernels(options), path);
  assert.equal(notes.length, count);
  assert.deepEqual(
    readdirSync(folder).filter((name) => !name.endsWith(".node")),
    [],
  );
});

test("what was cut off is compiled again, not loaded", { skip }, () => {
  // One that no test has loaded.
  const asked = { ...options, processor: ["-march=native", "-O1"] };
  const path = buildNativeKernels(asked);
  const whole = readFileSync(path);
  writeFileSync(path, whole.subarray(0, 3000));
  const count = notes.length;
  assert.deepEqual(readFileSync(buildNativeKernels(asked)), whole);
  assert.equal(notes.length, count + 1);
});

test("a cache that cannot be written is said in one line", { skip }, () => {
  const file = join(folder, "no-folder.node");
  writeFileSync(file, "");
  const problem = problemOf(() => buildNativeKernels({ ...options, folder: join(file, "below") }));
  assert.match(problem ?? "", /^the cache cannot be written \(ENOTDIR.*XDG_CACHE_HOME/);
  rmSync(file);
});

/** What, in which file, instead of what, and where it is found. */
const MISTAKES: readonly [string, string, string, string, RegExp][] = [
  ["a wrong sum", "kernels.h", "& 65535;", "& 65534;", /product of/],
  ["a wrong share", "attention.c", "splat(1) << places", "splat(0) << places", /attention of/],
  ["a wrong silu", "gate.c", "splat(32768)", "splat(32769)", /gate/],
];

for (const [what, file, right, wrong, where] of MISTAKES) {
  test(`kernels with ${what} are refused`, { skip }, async () => {
    const sources = mkdtempSync(join(folder, "sources-"));
    cpSync(SOURCES, sources, { recursive: true });
    const text = readFileSync(join(sources, file), "utf8");
    assert.ok(text.includes(right));
    writeFileSync(join(sources, file), text.replace(right, wrong));
    // Quick to compile.
    const processor = ["-march=native", "-O1"];
    assert.match(await refusalOf({ ...options, sources, processor }), where);
    rmSync(sources, { recursive: true, force: true });
  });
}

test("what cannot be compiled or loaded is said in one line", { skip }, async () => {
  const sources = mkdtempSync(join(folder, "sources-"));
  writeFileSync(join(sources, "addon.c"), "int broken(void) { return x; }\n");
  const compiled = problemOf(() => buildNativeKernels({ ...options, sources }));
  assert.match(compiled ?? "", /fails: .*error: .*x/);
  writeFileSync(join(sources, "addon.c"), "int whole(void) { return 1; }\n");
  assert.match(await refusalOf({ ...options, sources }), /does not load: ./);
  rmSync(sources, { recursive: true, force: true });
});

test("a machine without a compiler hears so", () => {
  const { PATH, CC } = process.env;
  process.env["PATH"] = "";
  process.env["CC"] = "no-such-compiler -O2";
  const named = problemOf(() => buildNativeKernels(options));
  process.env["CC"] = "";
  const problem = problemOf(() => buildNativeKernels(options));
  process.env["PATH"] = PATH;
  if (CC === undefined) delete process.env["CC"];
  else process.env["CC"] = CC;
  assert.equal(named, "there is no C compiler ($CC is no-such-compiler -O2)");
  assert.equal(problem, "there is no C compiler (cc, gcc, clang)");
});

function openKind(
  processor: readonly string[] | undefined,
  threads: number,
): ReturnType<typeof openNativeBackend> {
  const asked = processor && { processor: [...processor, ...STRICT] };
  return openNativeBackend({ ...options, ...asked, threads });
}

type Product = Extract<OpCall, { op: "matmul" }>;

/** Rows and sizes on either side of what tiles, blocks and groups hold. */
function* products(): Generator<Product> {
  let state = 1;
  const draw = (most: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return ((state >>> 8) % (2 * most + 1)) - most;
  };
  const draws = (length: number, most: number): number[] =>
    Array.from({ length }, () => draw(most));
  const productOf = (
    rows: number,
    leftBits: number,
    weights: Omit<PackedMatrix, "scales" | "exponents">,
  ): Product => ({
    ...{ op: "matmul", leftBits },
    left: {
      columns: weights.inputs,
      mantissas: Int32Array.from(draws(rows * weights.inputs, 2 ** (leftBits - 1) - 1)),
      exponents: Int32Array.from(draws(rows, 9)),
    },
    weights: {
      ...weights,
      scales: Uint8Array.from(draws(weights.outputs, 63), (scale) => 192 + scale),
      exponents: Int16Array.from(draws(weights.outputs, 9)),
    },
  });
  const sizes = [
    [1, 1],
    [63, 16],
    [65, 17],
    [1000, 101],
  ] as const;
  for (const rows of [1, 2, 3, 8, 23, 24, 49, 300])
    for (const [inputs, outputs] of sizes)
      for (const [leftBits, bits] of [
        [14, 8],
        [14, 14],
        [16, 14],
      ] as const) {
        const weights = draws(outputs * inputs, 2 ** (bits - 1) - 1);
        const blockScales = new Uint8Array(outputs * Math.ceil(inputs / 32)).map(
          () => 33 + draw(31),
        );
        yield productOf(rows, leftBits, {
          ...{ inputs, outputs, bits },
          mantissas: bits === 8 ? Int8Array.from(weights) : Int16Array.from(weights),
          ...(bits === 8 && { blockScales }),
        });
      }
  // Levels: any multiplier, with whatever offset it leaves room for.
  for (const rows of [1, 2, 3, 24, 49])
    for (const [inputs, outputs] of [
      [32, 1],
      [64, 17],
      [992, 101],
    ] as const)
      for (const leftBits of [14, 16]) {
        const blockScales = Uint16Array.from(draws((outputs * inputs) / 32, 546), (m) => m + 546);
        yield productOf(rows, leftBits, {
          ...{ inputs, outputs, bits: 4, blockScales },
          mantissas: Uint8Array.from(draws((outputs * inputs) / 2, 127), (pair) => pair + 127),
          blockOffsets: Int16Array.from(blockScales, (m, i) =>
            i % 3 === 0 ? 8191 - 15 * m : i % 3 === 1 ? -8191 : Math.trunc(-7.5 * m),
          ),
        });
      }
}

function problemOf(body: () => unknown): string | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

async function refusalOf(asked: BuildOptions): Promise<string> {
  return openNativeBackend({ ...asked, threads: 1 }).then(() => "it is taken", reasonOf);
}

function reasonOf(error: unknown): string {
  assert.ok(error instanceof NodeError && error.info.code === "node/native", String(error));
  return error.info.reason;
}
