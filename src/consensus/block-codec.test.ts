// Blocks and genesis records round-trip; anything else is refused with an offset.

import { test } from "node:test";
import * as fc from "fast-check";
import { assert, DecodeError, equalBytes } from "gyrotron/base";
import { decodeBlock, decodeGenesis, encodeBlock, encodeGenesis } from "./block-codec.ts";

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const block = fc.record({
  height: u64,
  timeNs: u64,
  randomness: bytes32,
  proposer: fc.uint8Array({ maxLength: 29 }),
  transactions: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }),
});
const genesis = fc.record({
  config: fc.record({
    subnetId: fc.uint8Array({ maxLength: 29 }),
    rootKeyDer: fc.uint8Array({ maxLength: 133 }),
    nodeKeys: fc.array(fc.uint8Array({ maxLength: 44 }), { maxLength: 3 }),
    priceNodes: fc.nat(),
    firstCanister: fc.option(u64, { nil: undefined }),
    provisional: fc.boolean(),
    subnetAdmins: fc.array(fc.uint8Array({ maxLength: 29 }), { maxLength: 2 }),
    thresholdKeys: fc.array(
      fc.record({
        scheme: fc.constantFrom("ecdsa" as const, "vetkd" as const),
        name: fc.string({ maxLength: 10 }),
        publicKey: fc.uint8Array({ maxLength: 96 }),
      }),
      { maxLength: 2 },
    ),
  }),
  timeNs: u64,
});

test("blocks and genesis records round-trip", () => {
  fc.assert(
    fc.property(block, (value) =>
      equalBytes(encodeBlock(decodeBlock(encodeBlock(value))), encodeBlock(value)),
    ),
    { seed: 1 },
  );
  fc.assert(
    fc.property(genesis, (value) =>
      equalBytes(encodeGenesis(decodeGenesis(encodeGenesis(value))), encodeGenesis(value)),
    ),
    { seed: 1 },
  );
});

test("every cut, extension or foreign record is a DecodeError", () => {
  fc.assert(
    fc.property(block, genesis, fc.nat(), (value, start, cut) => {
      const good = encodeBlock(value);
      const bad = [
        good.subarray(0, cut % good.length),
        Uint8Array.from([...good, 0]),
        encodeGenesis(start),
        new Uint8Array(0),
      ];
      for (const bytes of bad) assertDecodeError(() => decodeBlock(bytes));
      assertDecodeError(() => decodeGenesis(good));
    }),
    { seed: 1 },
  );
});

test("arbitrary bytes never do more than fail to decode", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      try {
        decodeBlock(Uint8Array.from([1, ...noise]));
      } catch (error) {
        assert(error instanceof DecodeError);
      }
    }),
    { seed: 1, numRuns: 1000 },
  );
});

function assertDecodeError(action: () => unknown): void {
  let caught: unknown;
  try {
    action();
  } catch (error) {
    caught = error;
  }
  assert(caught instanceof DecodeError);
}
