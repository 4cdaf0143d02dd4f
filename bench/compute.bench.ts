// What instrumentation costs: five kernels run raw and instrumented in V8, for both pointer widths.
//   node --conditions=source bench/compute.bench.ts [pairs]
// Prints the median over interleaved pairs of instrumented / raw CPU time, the geometric mean, gas
// used, and a digest of the memory that both runs must leave alike.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import process from "node:process";
import wabtInit from "wabt";
import { prepareModule } from "../src/canister/wasm/prepare-module.ts";
import { TestHost } from "../src/canister/wasm/test-host.ts";

const KERNELS = ["sort", "sha256", "matrix", "json", "hashmap"] as const;
const WARM_UP_RUNS = 3;

type Address = "i32" | "i64";

interface Measurement {
  readonly rawMs: number;
  readonly ratio: number;
  readonly gas: bigint;
  readonly bytes: number;
  readonly digest: string;
}

const wabt = await wabtInit();
const pairs = Number(process.argv[2] ?? 15);
console.log(
  `Node ${process.version}, V8 ${process.versions.v8}, ${cpus()[0]?.model ?? "unknown"} x ${cpus().length}`,
);
for (const address of ["i32", "i64"] as const) {
  const ratios: number[] = [];
  for (const kernel of KERNELS) {
    const measured = measure(compileKernel(kernel, address), pairs);
    ratios.push(measured.ratio);
    console.log(
      [
        address === "i32" ? "wasm32" : "wasm64",
        kernel.padEnd(8),
        `raw ${measured.rawMs.toFixed(1)} ms`.padEnd(13),
        `ratio ${measured.ratio.toFixed(3)}`,
        `gas ${measured.gas}`.padEnd(15),
        `code x${measured.bytes.toFixed(2)}`,
        measured.digest,
      ].join("  "),
    );
  }
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  console.log(
    `${address === "i32" ? "wasm32" : "wasm64"}  geometric mean ${mean.toFixed(3)} over ${pairs} pairs`,
  );
}

function compileKernel(name: string, address: Address): Uint8Array {
  const source = readFileSync(new URL(`kernels/${name}.wat`, import.meta.url), "utf8");
  const text = source
    .replaceAll(
      '(memory (export "memory") %',
      `(memory (export "memory") ${address === "i64" ? "i64" : ""}`,
    )
    .replaceAll("CONVERT", address === "i64" ? "i64.extend_i32_u" : "i32.or (i32.const 0)")
    .replaceAll("%", address);
  return wabt.parseWat(name, text, { memory64: true }).toBinary({}).buffer;
}

function measure(bytes: Uint8Array, count: number): Measurement {
  const raw = new WebAssembly.Instance(new WebAssembly.Module(bytes.slice()), {}).exports;
  const memory = raw["memory"] as WebAssembly.Memory;
  const prepared = prepareModule(bytes);
  const host = new TestHost(prepared);
  const runRaw = (): void => (raw["canister_update run"] as () => void)();
  const runInstrumented = (): void => {
    host.clean();
    host.call("canister_update run");
  };
  for (let i = 0; i < WARM_UP_RUNS; i++) {
    runRaw();
    runInstrumented();
  }
  const before = host.gasUsed;
  runInstrumented();
  const gas = host.gasUsed - before;
  runRaw();
  const digest = digestOf(memory);
  if (digest !== digestOf(host.heap)) throw new RangeError("the two runs left different memories");
  const rawTimes: number[] = [];
  const ratios: number[] = [];
  for (let i = 0; i < count; i++) {
    const rawMs = time(runRaw);
    rawTimes.push(rawMs);
    ratios.push(time(runInstrumented) / rawMs);
  }
  return {
    rawMs: median(rawTimes),
    ratio: median(ratios),
    gas,
    bytes: prepared.compiledBytes / bytes.length,
    digest,
  };
}

function digestOf(memory: WebAssembly.Memory): string {
  return createHash("sha256").update(new Uint8Array(memory.buffer)).digest("hex").slice(0, 16);
}

/** CPU milliseconds of this thread: other work on the machine disturbs them less than a clock. */
function time(run: () => void): number {
  const before = process.threadCpuUsage();
  run();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
