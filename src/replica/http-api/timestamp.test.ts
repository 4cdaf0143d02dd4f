// Printed times against the host's calendar.

import { equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTimestamp } from "./timestamp.ts";

test("the example of the interface, the epoch, leap days and the last u64", () => {
  equal(formatTimestamp(1_767_323_045_123_456_789n), "2026-01-02 03:04:05.123456789 UTC");
  equal(formatTimestamp(0n), "1970-01-01 00:00:00.000000000 UTC");
  equal(formatTimestamp(1_709_164_800_000_000_000n), "2024-02-29 00:00:00.000000000 UTC");
  equal(formatTimestamp(4_107_542_399_999_999_999n), "2100-02-28 23:59:59.999999999 UTC");
  equal(formatTimestamp(2n ** 64n - 1n), "2554-07-21 23:34:33.709551615 UTC");
});

test("every time equals what Date prints", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (timeNs) => {
      const [date, time] = new Date(Number(timeNs / 1_000_000n))
        .toISOString()
        .slice(0, -1)
        .split("T");
      const digits = String(timeNs % 1_000_000n).padStart(6, "0");
      equal(formatTimestamp(timeNs), `${date} ${time}${digits} UTC`);
    }),
    { seed: 5, numRuns: 1000 },
  );
});
