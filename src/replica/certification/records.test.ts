// Codecs of the records that replicated state holds: every value comes back, damaged bytes are refused.

import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError, decodeWith, encodeWith } from "gyrotron/base";
import {
  type CanisterPublicInfo,
  canisterPublicInfoCodec,
  type IngressStatus,
  ingressStatusCodec,
} from "./records.ts";

const seed = 21;
const plain = { noNullPrototype: true };
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const principal = fc.uint8Array({ maxLength: 29 });
const optionalBytes = fc.option(fc.uint8Array({ maxLength: 32 }), { nil: undefined });

const status: fc.Arbitrary<IngressStatus> = fc.oneof(
  fc.constantFrom<IngressStatus>({ kind: "received" }, { kind: "processing" }, { kind: "done" }),
  fc.record({ kind: fc.constant("replied" as const), reply: fc.uint8Array() }, plain),
  fc.record(
    {
      kind: fc.constant("rejected" as const),
      rejectCode: fc.integer({ min: 1, max: 6 }),
      message: fc.string({ unit: "grapheme" }),
      errorCode: fc.constantFrom("IC0301", "IC0503"),
    },
    plain,
  ),
);

const publicInfo: fc.Arbitrary<CanisterPublicInfo> = fc.record(
  {
    controllers: fc.array(principal, { maxLength: 10 }),
    moduleHash: optionalBytes,
    certifiedData: optionalBytes,
    createdNs: u64,
    installedNs: fc.option(u64, { nil: undefined }),
    metadata: fc.array(
      fc.record(
        {
          name: fc.string(),
          visibility: fc.constantFrom("public" as const, "private" as const),
          content: fc.uint8Array(),
        },
        plain,
      ),
      { maxLength: 4 },
    ),
  },
  plain,
);

test("statuses of requests round-trip", () => {
  const property = fc.property(status, (value) => {
    deepEqual(decodeWith(ingressStatusCodec, encodeWith(ingressStatusCodec, value)), value);
  });
  fc.assert(property, { seed, numRuns: 200 });
});

test("public facts of canisters round-trip", () => {
  const property = fc.property(publicInfo, (value) => {
    deepEqual(
      decodeWith(canisterPublicInfoCodec, encodeWith(canisterPublicInfoCodec, value)),
      value,
    );
  });
  fc.assert(property, { seed, numRuns: 200 });
});

test("cut and trailing bytes are refused", () => {
  const property = fc.property(publicInfo, (value) => {
    const bytes = encodeWith(canisterPublicInfoCodec, value);
    for (let cut = 0; cut < bytes.length; cut += 3) {
      throws(() => decodeWith(canisterPublicInfoCodec, bytes.subarray(0, cut)), DecodeError);
    }
    throws(() => decodeWith(canisterPublicInfoCodec, Uint8Array.of(...bytes, 0)), DecodeError);
  });
  fc.assert(property, { seed, numRuns: 50 });
  equal(encodeWith(ingressStatusCodec, { kind: "received" }).toHex(), "00");
});
