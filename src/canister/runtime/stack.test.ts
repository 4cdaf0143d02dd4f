// Goal: a stack overflow is the same event in every compiler tier of V8. Method: one process per
// tier, in each the same recursions, with outcomes and charges compared.

import { deepEqual, equal } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

const CHILD = new URL("../../../test/canister/stack-child.ts", import.meta.url).pathname;

function outcomes(...flags: string[]): string[] {
  const output = execFileSync(process.execPath, ["--conditions=source", ...flags, CHILD]);
  return output.toString().trimEnd().split("\n");
}

test("recursion overflows at the same depth in every tier", () => {
  const lines = outcomes();
  equal(lines.length, 15);
  deepEqual(
    lines.slice(0, 5).map((line) => line.replace(/, \d+$/, "")),
    [
      "small: Canister trapped: stack overflow",
      "wide: Canister trapped: stack overflow",
      "high: Canister trapped: stack overflow",
      "indirect: Canister trapped: stack overflow",
      "fits: finished",
    ],
  );
  deepEqual(lines.slice(5, 10), lines.slice(0, 5));
  deepEqual(lines.slice(10), lines.slice(0, 5));
  deepEqual(outcomes("--liftoff-only"), lines);
  deepEqual(outcomes("--no-liftoff"), lines);
});
