// Comparing two bodies on a machine that others use too: both run in turn many times within one process, and
// what is reported is the median of the ratios within pairs. Such ratios survive noise; times alone do not.
// Beside it stands the ratio of the fastest tenths, which is what the pair would give on a quiet machine.

import { present } from "gyrotron/base";

/** What a comparison found. Times are of one run of a body, in milliseconds. */
export interface Comparison {
  readonly oursMs: number;
  readonly theirsMs: number;
  /** Median over pairs of their time by ours: above 1, ours is faster. */
  readonly speed: number;
  /** The same of the times below which a tenth of each side's times lie. */
  readonly quietSpeed: number;
}

/** A comparison that takes longer than this ends early, but not before `PAIRS_MIN` pairs. */
const BUDGET_MS = 4000;
const PAIRS_MIN = 7;

/** Something to time; may be asynchronous. */
export type Body = () => unknown;

/** Runs both bodies `pairs` times in alternating order, after `warmUp` runs of each. */
export async function comparePairs(
  ours: Body,
  theirs: Body,
  options: { readonly pairs: number; readonly warmUp?: number },
): Promise<Comparison> {
  for (let i = 0; i < (options.warmUp ?? 3); i++) {
    await ours();
    await theirs();
  }
  const oursMs: number[] = [];
  const theirsMs: number[] = [];
  const start = performance.now();
  for (let i = 0; i < options.pairs; i++) {
    if (i >= PAIRS_MIN && performance.now() - start > BUDGET_MS) break;
    if (i % 2 === 0) oursMs.push(await timeMs(ours));
    theirsMs.push(await timeMs(theirs));
    if (i % 2 === 1) oursMs.push(await timeMs(ours));
  }
  return {
    oursMs: median(oursMs),
    theirsMs: median(theirsMs),
    speed: median(oursMs.map((ms, i) => present(theirsMs[i]) / ms)),
    quietSpeed: lowest(theirsMs) / lowest(oursMs),
  };
}

/** How many runs of something make about `targetMs`, at least 1. */
export async function repeatsFor(body: Body, targetMs: number): Promise<number> {
  await body();
  const ms = Math.min(await timeMs(body), await timeMs(body));
  return Math.max(1, Math.min(1000, Math.round(targetMs / Math.max(ms, 0.001))));
}

/** A body that runs another `count` times. */
export function repeated(body: Body, count: number): Body {
  return async () => {
    for (let i = 0; i < count; i++) {
      const result = body();
      if (result instanceof Promise) await result;
    }
  };
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return present(values.toSorted((a, b) => a - b)[values.length >> 1]);
}

function lowest(values: readonly number[]): number {
  return present(values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)]);
}

async function timeMs(body: Body): Promise<number> {
  const start = performance.now();
  const result = body();
  if (result instanceof Promise) await result;
  return performance.now() - start;
}
