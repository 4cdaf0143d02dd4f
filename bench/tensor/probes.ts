// What this machine gives to strict Wasm SIMD at best: the bare inner loop of a product on operands in the
// first cache, a read sweep, a copy, and two threads that share nothing.

import { Worker } from "node:worker_threads";
import wabtInit from "wabt";

const ROWS = 4;
const COLUMNS = 2;
/** Steps of 8 k that the loop makes before it starts again: operands of 6912 bytes. */
const STEPS = 72;
const RIGHT_ADDRESS = 24576;

/** Multiply-adds of one repetition of the bare loop. */
export const LOOP_MACS: number = ROWS * COLUMNS * 8 * STEPS;

/** The probes; addresses are byte offsets into a memory of `bytes`. */
export interface Probes {
  /** Runs the bare loop of `repetitions * LOOP_MACS` multiply-adds. */
  readonly loop: (repetitions: number) => number;
  /** Reads `bytes` bytes, a multiple of 128, as two streams, which is faster than one. */
  readonly sweep: (bytes: number) => number;
  /** Copies `bytes` bytes of the lower half of the memory into the upper half. */
  readonly copy: (bytes: number) => void;
}

/** Instantiates the probes over a fresh memory. */
export async function createProbes(bytes: number): Promise<Probes> {
  const { exports } = new WebAssembly.Instance(await compileProbes(), {});
  const memory = exports["memory"] as WebAssembly.Memory;
  memory.grow(Math.ceil((2 * bytes) / 65536));
  new Uint8Array(memory.buffer).fill(1);
  const copy = exports["copy"] as (to: number, from: number, bytes: number) => void;
  const loop = exports["loop"] as (repetitions: number, steps: number) => number;
  return {
    loop: (repetitions) => loop(repetitions, STEPS),
    sweep: exports["sweep"] as (bytes: number) => number,
    copy: (length) => copy(bytes, 0, length),
  };
}

/** Two threads' bare loops against one thread's: 2 where the second thread costs the first nothing. */
export interface SpinProbe {
  readonly both: (repetitions: number) => void;
  readonly close: () => Promise<unknown>;
}

/** A second thread for the bare loop. */
export async function createSpinProbe(own: Probes): Promise<SpinProbe> {
  const words = new Int32Array(new SharedArrayBuffer(12));
  const source = `
    const { parentPort, workerData: { module, words, steps } } = require("node:worker_threads");
    const { loop } = new WebAssembly.Instance(module, {}).exports;
    loop(5000, steps);
    parentPort.postMessage("ready");
    for (let seen = 0; ; ) {
      Atomics.wait(words, 0, seen);
      const found = Atomics.load(words, 0);
      if (found === seen) continue;
      seen = found;
      loop(words[2], steps);
      Atomics.store(words, 1, seen);
      Atomics.notify(words, 1);
    }`;
  const module = await compileProbes();
  const worker = new Worker(source, { eval: true, workerData: { module, words, steps: STEPS } });
  await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  worker.unref();
  return {
    both(repetitions) {
      words[2] = repetitions;
      const job = Atomics.add(words, 0, 1) + 1;
      Atomics.notify(words, 0);
      own.loop(repetitions);
      while (Atomics.load(words, 1) !== job) Atomics.wait(words, 1, job - 1, 1000);
    },
    close: () => worker.terminate(),
  };
}

async function compileProbes(): Promise<WebAssembly.Module> {
  const parsed = (await wabtInit()).parseWat("probes.wat", probeText(), { simd: true });
  return new WebAssembly.Module(parsed.toBinary({}).buffer.slice());
}

function probeText(): string {
  const cells = range(ROWS).flatMap((r) => range(COLUMNS).map((c) => `$sum${r}${c}`));
  const weights = range(COLUMNS).map((c) => `$w${c}`);
  const body = [
    ...weights.map((w, c) => `(local.set ${w} (v128.load offset=${c * 16} (local.get $right)))`),
    ...range(ROWS).flatMap((r) => [
      `(local.set $x (v128.load offset=${r * 16} (local.get $left)))`,
      ...weights.map(
        (w, c) =>
          `(local.set $sum${r}${c} (i32x4.add (local.get $sum${r}${c})
             (i32x4.dot_i16x8_s (local.get $x) (local.get ${w}))))`,
      ),
    ]),
  ];
  return `(module
    (memory (export "memory") 1)
    (func (export "loop") (param $count i32) (param $steps i32) (result i32)
      (local $left i32) (local $right i32) (local $n i32) (local $x v128)
      ${[...cells, ...weights].map((name) => `(local ${name} v128)`).join(" ")}
      (loop $again
        (local.set $left (i32.const 0))
        (local.set $right (i32.const ${RIGHT_ADDRESS}))
        (local.set $n (local.get $steps))
        (loop $step
          ${body.join("\n")}
          (local.set $left (i32.add (local.get $left) (i32.const ${ROWS * 16})))
          (local.set $right (i32.add (local.get $right) (i32.const ${COLUMNS * 16})))
          (br_if $step (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      ${sumOf(cells)})
    (func (export "sweep") (param $bytes i32) (result i32)
      (local $a i32) (local $b i32) (local $n i32)
      ${range(8)
        .map((i) => `(local $sum${i} v128)`)
        .join(" ")}
      (local.set $b (i32.shr_u (local.get $bytes) (i32.const 1)))
      (local.set $n (local.get $b))
      (loop $next
        ${range(8)
          .map(
            (i) =>
              `(local.set $sum${i} (i32x4.add (local.get $sum${i})
                 (v128.load offset=${(i >> 1) * 16} (local.get ${i % 2 === 0 ? "$a" : "$b"}))))`,
          )
          .join("\n")}
        (local.set $a (i32.add (local.get $a) (i32.const 64)))
        (local.set $b (i32.add (local.get $b) (i32.const 64)))
        (br_if $next (i32.lt_u (local.get $a) (local.get $n))))
      ${sumOf(range(8).map((i) => `$sum${i}`))})
    (func (export "copy") (param $to i32) (param $from i32) (param $bytes i32)
      (memory.copy (local.get $to) (local.get $from) (local.get $bytes))))`;
}

/** Uses every accumulator, so that none is optimized away. */
function sumOf(names: readonly string[]): string {
  return names.reduce(
    (sum, name) => `(i32.add ${sum} (i32x4.extract_lane 0 (local.get ${name})))`,
    "(i32.const 0)",
  );
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
