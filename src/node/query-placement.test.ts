// Placement of inquiries: homes are stable and spread, and a busy home gets help.

import { equal } from "node:assert/strict";
import { test } from "node:test";
import { canisterIdFromU64 } from "gyrotron/crypto";
import { chooseWorker } from "./query-placement.ts";

test("canisters have homes, spread over the workers", () => {
  const counts = [0, 0, 0, 0];
  for (let number = 0n; number < 400n; number++) {
    const id = canisterIdFromU64(0x8000_0000_0000_0000n + number);
    const home = chooseWorker([0, 0, 0, 0], id);
    equal(chooseWorker([3, 3, 3, 3], id), home);
    counts[home]! += 1;
  }
  for (const count of counts) equal(count > 50 && count < 150, true, String(counts));
});

test("a busy home gets help from the least busy worker", () => {
  const id = canisterIdFromU64(5n);
  const home = chooseWorker([0, 0, 0], id);
  const busy = (count: number): number[] =>
    [2, 2, 1].map((open, at) => (at === home ? count : open));
  equal(chooseWorker(busy(5), id), home);
  const helped = busy(9);
  equal(chooseWorker(helped, id), helped.indexOf(Math.min(...helped)));
  equal(chooseWorker([7], id), 0);
});

test("what has no canister goes to the least busy worker", () => {
  equal(chooseWorker([3, 1, 2], undefined), 1);
});
