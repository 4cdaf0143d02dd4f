// What a step of a decoder is on any device that runs its layers: the numbers that go there, and what statuses
// and logits that come back mean.

import { present } from "gyrotron/base";
import {
  addPositions,
  type DecoderFrame,
  type DecoderRow,
  describeOp,
  embedTokens,
  type NonFinite,
  type SequenceCache,
  type StepResult,
} from "gyrotron/tensor";
import type { DeviceCache } from "./cache-pool.ts";
import { STATUS_GOOD } from "./row-status.ts";

/** A step that has been admitted. */
export interface DeviceStep {
  /** By rows. */
  readonly caches: readonly DeviceCache[];
  readonly positions: readonly number[];
  /** Numbers of the rows that want logits. */
  readonly chosen: readonly number[];
  /** The embedded tokens with their learned positions, a row for each. */
  readonly x: Float32Array;
  /** Rows whose learned position made them not finite. */
  readonly misplaced: readonly number[];
}

/** Begins a step on caches, which get longer by their rows. */
export function beginStep(
  frame: DecoderFrame,
  rows: readonly DecoderRow[],
  caches: readonly DeviceCache[],
): DeviceStep {
  const positions = caches.map((cache) => cache.length++);
  const chosen = rows.flatMap((row, i) => (row.wantsLogits ? [i] : []));
  const tokens = rows.map((row) => row.token);
  const x = embedTokens(frame.embedding, tokens);
  const learned = frame.positions;
  const misplaced = learned === undefined ? [] : addPositions(x, learned, positions);
  return { caches, positions, chosen, x, misplaced };
}

/** The result of a step by its rows' statuses; `logitsOf` reads those of the chosen row of such a number. */
export function endStep(
  step: DeviceStep,
  layers: number,
  statuses: ArrayLike<number>,
  logitsOf: (index: number) => Float32Array,
): StepResult {
  const { caches, positions, chosen } = step;
  const failures = new Map<SequenceCache, NonFinite>();
  // Rows of a cache stand in rising position, so the first that failed is the one to report.
  caches.forEach((cache, i) => {
    const op = present(statuses[i]);
    if (op === STATUS_GOOD || failures.has(cache)) return;
    failures.set(cache, { position: present(positions[i]), op: describeOp(layers, op) });
  });
  const logits: (Float32Array | undefined)[] = caches.map(() => undefined);
  chosen.forEach((row, i) => {
    if (!failures.has(present(caches[row]))) logits[row] = logitsOf(i);
  });
  return { logits, failures };
}
