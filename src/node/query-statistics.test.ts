// Reports on queries: sums by canister, due a minute after the last, bounded.

import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { QueryStatistics } from "./query-statistics.ts";

const SECOND = 1_000_000_000n;
const usage = (id: number): Parameters<QueryStatistics["add"]>[0] => [
  { canisterId: Uint8Array.of(id), instructions: 10n, requestBytes: 2, responseBytes: 3 },
];

test("sums go out with the first query after a minute, and begin again", () => {
  const statistics = new QueryStatistics();
  const start = 1_000n * SECOND;
  equal(statistics.add(usage(1), start), undefined);
  equal(statistics.add(usage(2), start + 59n * SECOND), undefined);
  const report = statistics.add(usage(1), start + 60n * SECOND);
  equal(report?.number, start + 60n * SECOND);
  deepEqual(
    report?.canisters.map(({ canisterId, stats }) => [canisterId[0], stats.calls]),
    [
      [1, 2n],
      [2, 1n],
    ],
  );
  equal(statistics.add([], start + 130n * SECOND), undefined, "nothing to report");
  equal(statistics.add(usage(3), start + 131n * SECOND)?.canisters.length, 1);
});

test("a report names at most a thousand canisters", () => {
  const statistics = new QueryStatistics();
  for (let id = 0; id < 1_100; id++) {
    const canisterId = Uint8Array.of(id & 255, id >> 8);
    statistics.add([{ canisterId, instructions: 1n, requestBytes: 1, responseBytes: 1 }], SECOND);
  }
  const report = statistics.add(usage(1), 100n * SECOND);
  ok(report !== undefined);
  equal(report.canisters.length, 1_000);
});
