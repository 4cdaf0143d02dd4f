// Principals against the SDK that clients use, and texts that must be refused.

import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { Principal } from "@icp-sdk/core/principal";
import fc from "fast-check";
import {
  ANONYMOUS_PRINCIPAL,
  canisterIdFromU64,
  canisterIdToU64,
  CryptoError,
  formatPrincipal,
  isAnonymous,
  isManagementCanister,
  isSelfAuthenticating,
  MANAGEMENT_CANISTER,
  parsePrincipal,
  parsePrincipalOrUndefined,
  selfAuthenticating,
} from "./index.ts";

const seed = 2026;

test("malformed texts are refused", () => {
  const texts = [
    "",
    "-",
    "aaaaa",
    "aaaaa-ab", // checksum
    "AAAAA-AA",
    "aaaaaaa", // dash missing
    "aaaaa-aa-",
    "2vxsx-fa3",
    "2vxsx-fae ",
    "2vxsx--fae",
    "2vxsx-fa1",
    "é2vxsx-fae",
    "a".repeat(5000),
    formatPrincipal(new Uint8Array(29)) + "a",
  ];
  for (const text of texts) {
    equal(parsePrincipalOrUndefined(text), undefined, text);
    throws(() => parsePrincipal(text), CryptoError, text);
  }
});

test("a 30-byte principal's text is refused", () => {
  const text = Principal.fromUint8Array(new Uint8Array(30)).toText();
  equal(parsePrincipalOrUndefined(text), undefined);
});

test("text form equals the SDK's and round-trips", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 29 }), (bytes) => {
      const text = formatPrincipal(bytes);
      equal(text, Principal.fromUint8Array(bytes).toText());
      deepEqual(parsePrincipal(text), bytes);
    }),
    { seed, numRuns: 300 },
  );
});

test("a text that parses is the canonical one", () => {
  const letter = fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz234567-");
  fc.assert(
    fc.property(fc.array(letter, { maxLength: 70 }), (letters) => {
      const text = letters.join("");
      const parsed = parsePrincipalOrUndefined(text);
      equal(parsed === undefined ? text : formatPrincipal(parsed), text);
    }),
    { seed, numRuns: 300 },
  );
});

test("known principals", () => {
  equal(formatPrincipal(MANAGEMENT_CANISTER), "aaaaa-aa");
  equal(formatPrincipal(ANONYMOUS_PRINCIPAL), "2vxsx-fae");
  equal(formatPrincipal(canisterIdFromU64(1n)), "rrkah-fqaaa-aaaaa-aaaaq-cai");
  equal(isAnonymous(ANONYMOUS_PRINCIPAL), true);
  equal(isAnonymous(MANAGEMENT_CANISTER), false);
  equal(isManagementCanister(MANAGEMENT_CANISTER), true);
  equal(isManagementCanister(ANONYMOUS_PRINCIPAL), false);
});

test("self-authenticating principals equal the SDK's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (der) => {
      const principal = selfAuthenticating(der);
      deepEqual(principal, Principal.selfAuthenticating(der).toUint8Array());
      equal(isSelfAuthenticating(principal), true);
    }),
    { seed, numRuns: 50 },
  );
});

test("canister numbers round-trip, other principals have none", () => {
  for (const index of [0n, 1n, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn]) {
    equal(canisterIdToU64(canisterIdFromU64(index)), index);
  }
  equal(canisterIdToU64(MANAGEMENT_CANISTER), undefined);
  equal(canisterIdToU64(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1, 1, 2)), undefined);
});
