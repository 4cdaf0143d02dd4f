// Which buffer each slot of a run lies in. A buffer serves one slot after another: from the step that
// writes it first (or from the start, if the host does) to the last that reads it. What is written once
// for all runs has buffers of its own, which are not dealt with here.

import type { Plan, Slot } from "./plan.ts";

/** Buffers of a plan, in words, and the one of each slot. */
export interface Allocation {
  readonly buffers: readonly number[];
  /** Buffer of each slot; -1 if no step uses it or it is written once for all runs. */
  readonly of: readonly number[];
}

/** Assigns buffers; slots in `kept` stay to the end, and with `keepAll` every slot does. */
export function allocate(plan: Plan, kept: readonly Slot[], keepAll: boolean): Allocation {
  const first: number[] = plan.slots.map(() => -1);
  const last: number[] = plan.slots.map(() => -1);
  const end = plan.steps.length;
  plan.steps.forEach(({ reads, writes }, step) => {
    for (const { index, writer } of [...reads, ...writes]) {
      if (writer === "graph") continue;
      if (first[index] === -1) first[index] = writer === "run" ? 0 : step;
      last[index] = step;
    }
  });
  for (const { index, writer } of kept) {
    if (writer === "graph") continue;
    if (first[index] === -1) first[index] = 0;
    last[index] = end;
  }
  const starting: number[][] = Array.from({ length: end + 1 }, () => []);
  const ending: number[][] = Array.from({ length: end + 1 }, () => []);
  first.forEach((step, slot) => {
    if (step === -1) return;
    starting[step]!.push(slot);
    if (!keepAll) ending[last[slot]!]!.push(slot);
  });
  const buffers: number[] = [];
  const free: number[] = [];
  const of = plan.slots.map(() => -1);
  for (let step = 0; step <= end; step++) {
    for (const slot of starting[step]!)
      of[slot] = takeBuffer(buffers, free, plan.slots[slot]!.words);
    if (step < end) for (const slot of ending[step]!) free.push(of[slot]!);
  }
  return { buffers, of };
}

/** A free buffer of a size near enough, or a new one. */
function takeBuffer(buffers: number[], free: number[], words: number): number {
  let best = -1;
  free.forEach((buffer, i) => {
    const size = buffers[buffer]!;
    if (size < words || size > 4 * Math.max(words, 64)) return;
    if (best < 0 || size < buffers[free[best]!]!) best = i;
  });
  if (best >= 0) return free.splice(best, 1)[0]!;
  return buffers.push(words) - 1;
}
