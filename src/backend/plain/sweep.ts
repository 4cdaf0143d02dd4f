// A device's unary functions against the plain program on as many of the 2^32 f32 as one has time for: every
// `stride`-th bit pattern from an offset, so all exponents and all leading places come.

import { assert } from "gyrotron/base";
import type { GraphBackend, RunResult, UnaryOp } from "gyrotron/tensor";
import { PLAIN_UNARY } from "./unary.ts";

/** Which inputs: `offset`, `offset + stride`, ... below 2^32. Stride 1 is exhaustive. */
export interface Stratum {
  readonly stride: number;
  readonly offset: number;
}

/** What one function did on a stratum. */
export interface SweepReport {
  readonly op: UnaryOp;
  /** Finite inputs with a finite result; the others are not compared here. */
  readonly inputs: number;
  /** Bits of the first inputs with other results. */
  readonly mismatches: readonly number[];
}

/** Inputs of one run on the device. */
const BLOCK = 1 << 18;
const MISMATCHES_MAX = 8;

/** Compares one function on a stratum of inputs; `advance` hears what share of them is done, in 0..1. */
export async function sweepUnary(
  backend: GraphBackend,
  op: UnaryOp,
  { stride, offset }: Stratum,
  advance: (share: number) => void = () => {},
): Promise<SweepReport> {
  assert(stride >= 1 && offset >= 0 && offset < stride, "no such stratum");
  const plain = PLAIN_UNARY[op];
  const mismatches: number[] = [];
  let inputs = 0;
  for (let start = offset; start < 2 ** 32; start += stride * BLOCK) {
    const count = Math.min(BLOCK, Math.ceil((2 ** 32 - start) / stride));
    const bits = new Uint32Array(count);
    for (let i = 0; i < count; i++) bits[i] = start + i * stride;
    const all = new Float32Array(bits.buffer);
    const expected = new Float32Array(count);
    const x = new Float32Array(count);
    let kept = 0;
    for (const value of all) {
      if (!Number.isFinite(value) || Object.is(value, -0)) continue;
      const y = plain(value);
      if (!Number.isFinite(y)) continue;
      x[kept] = value;
      expected[kept++] = y;
    }
    advance(start / 2 ** 32);
    if (kept === 0) continue;
    const actual = await runUnary(backend, op, x.subarray(0, kept));
    inputs += kept;
    for (let i = 0; i < kept && mismatches.length < MISMATCHES_MAX; i++) {
      if (!Object.is(actual[i], expected[i])) mismatches.push(bitsOf(x, i));
    }
  }
  advance(1);
  return { op, inputs, mismatches };
}

/** Who hears of a sweep while it goes on. */
export interface SweepListener {
  /** What share of a function's inputs is done, in 0..1. */
  readonly advance?: (op: UnaryOp, share: number) => void;
  readonly report?: (report: SweepReport) => void;
}

/** All functions, one after the other. */
export async function sweepFunctions(
  backend: GraphBackend,
  stratum: Stratum,
  { advance, report }: SweepListener = {},
): Promise<SweepReport[]> {
  const reports: SweepReport[] = [];
  for (const op of Object.keys(PLAIN_UNARY) as UnaryOp[]) {
    reports.push(await sweepUnary(backend, op, stratum, (share) => advance?.(op, share)));
    report?.(reports.at(-1)!);
  }
  return reports;
}

async function runUnary(
  backend: GraphBackend,
  op: UnaryOp,
  data: Float32Array,
): Promise<Float32Array> {
  const type = { element: "f32", shape: [data.length] } as const;
  const nodes = [
    { op: "input", name: "x", role: "data", inputs: [], type },
    { op, inputs: [0], type },
  ] as const;
  const graph = { nodes, outputs: [{ name: "y", node: 1 }] };
  const x = { element: "f32", shape: [data.length], data: data.slice() } as const;
  const result: RunResult = await backend.runGraph(graph, { x });
  // A failure where the plain program has none: no value at all compares equal.
  const y = result.failure === undefined ? result.outputs["y"] : undefined;
  return y?.element === "f32" ? y.data : new Float32Array(0);
}

function bitsOf(x: Float32Array, index: number): number {
  return new DataView(x.buffer, x.byteOffset).getUint32(index * 4, true);
}
