// The hash of structured data: the specification's vector, and the SDK as a second opinion.

import { deepEqual, equal, notDeepEqual } from "node:assert/strict";
import { test } from "node:test";
import { requestIdOf } from "@icp-sdk/core/agent";
import fc from "fast-check";
import { domainSeparator, type HashableValue, hashOfMap, hashOfValue } from "./index.ts";

test("the interface's vector", () => {
  const content = {
    request_type: "call",
    sender: Uint8Array.of(4),
    ingress_expiry: 1_685_570_400_000_000_000n,
    canister_id: Uint8Array.fromHex("00000000000004d2"),
    method_name: "hello",
    arg: Uint8Array.fromHex("4449444c00fd2a"),
  };
  const expected = "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101";
  equal(hashOfMap(content).toHex(), expected);
  equal(hashOfMap(new Map(Object.entries(content))).toHex(), expected);
  equal(hashOfMap({ ...content, nonce: undefined }).toHex(), expected);
});

test("equals the SDK on arbitrary requests", () => {
  const leaf = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 70n }), fc.uint8Array(), fc.string());
  const value = fc.oneof(leaf, fc.array(leaf), fc.array(fc.array(fc.uint8Array())));
  const key = fc.string({ minLength: 1 }).filter((name) => name !== "__proto__");
  fc.assert(
    fc.property(fc.dictionary(key, value, { noNullPrototype: true }), (map) => {
      deepEqual(
        hashOfMap(map as { [key: string]: HashableValue }),
        new Uint8Array(requestIdOf(map)),
      );
    }),
    { seed: 3, numRuns: 200 },
  );
});

test("kinds of values are told apart where the encoding does", () => {
  notDeepEqual(hashOfValue([]), hashOfValue({ a: 1n }));
  notDeepEqual(hashOfValue(-1n), hashOfValue(1n));
  deepEqual(hashOfValue("a"), hashOfValue(Uint8Array.of(0x61)));
});

test("domain separators carry their length", () => {
  equal(domainSeparator("ic-request").toHex(), "0a69632d72657175657374");
});
