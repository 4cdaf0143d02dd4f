// Goal: results, traps, charges and the depth of the stack are the same in every compiler tier of V8.
// Method: one process per tier runs the same messages several times; all lines must be equal.

import { deepEqual, equal } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

const CHILD = new URL("../../../test/canister/tier-child.ts", import.meta.url).pathname;

function outcomes(...flags: string[]): string[] {
  const output = execFileSync(process.execPath, ["--conditions=source", ...flags, CHILD]);
  return output.toString().trimEnd().split("\n");
}

test("executions end alike in every tier", () => {
  const lines = outcomes();
  equal(lines.length, 27);
  deepEqual(
    lines.slice(0, 9).map((line) => line.replace(/, \d+$/, "").replace(/[0-9a-f]{16}/, "number")),
    [
      "small: Canister trapped: stack overflow",
      "wide: Canister trapped: stack overflow",
      "high: Canister trapped: stack overflow",
      "indirect: Canister trapped: stack overflow",
      "fits: finished",
      "float: number",
      "divide: Canister trapped: integer division by 0",
      "store: Canister trapped: heap out of bounds",
      "convert: Canister trapped: unknown",
    ],
  );
  deepEqual(lines.slice(9, 18), lines.slice(0, 9));
  deepEqual(lines.slice(18), lines.slice(0, 9));
  deepEqual(outcomes("--liftoff-only"), lines);
  deepEqual(outcomes("--no-liftoff"), lines);
});
