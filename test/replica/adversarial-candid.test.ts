// Goal: no Candid argument, whoever sends it, stops the state machine, holds it up, or is answered
// with a text that depends on what the process did before.

import { equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL } from "gyrotron/candid";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import type { IngressStatus } from "gyrotron/replica";
import { ReplicaHarness } from "./harness.ts";

const rejection = (status: IngressStatus): string => {
  ok(status.kind === "rejected", `expected a reject, got ${status.kind}`);
  return `${status.errorCode} ${status.message}`;
};
/** `record { canister_id : principal }` with a principal of these bytes. */
const idArgument = (id: Uint8Array): Uint8Array =>
  concatBytes(
    utf8Bytes("DIDL"),
    Uint8Array.of(1, 0x6c, 1, 0xb3, 0xc4, 0xb1, 0xf2, 0x04, 0x68, 1, 0, 1, id.length),
    id,
  );
/** A LEB128 zero of `bytes` bytes. */
const padded = (bytes: number): Uint8Array => {
  const zero = new Uint8Array(bytes).fill(0x80);
  zero[bytes - 1] = 0;
  return zero;
};

suite("Candid arguments", () => {
  test("a principal of more than 29 bytes is refused, and the network goes on", () => {
    const network = new ReplicaHarness();
    for (const method of ["start_canister", "canister_status", "delete_canister"]) {
      const status = network.call(MANAGEMENT_CANISTER, method, idArgument(new Uint8Array(30)));
      match(rejection(status), /^IC0408 Error decoding candid argument/);
    }
    match(
      rejection(
        network.call(MANAGEMENT_CANISTER, "start_canister", idArgument(new Uint8Array(29))),
      ),
      /^IC0301/,
    );
  });

  test("the text of a refusal does not depend on what the process decoded before", () => {
    const wrong = encodeCandid(
      [IDL.Record({ canister_id: IDL.Record({ inner: IDL.Vec(IDL.Nat) }) })],
      [{ canister_id: { inner: [1n] } }],
    );
    const answerOf = (): string => {
      const network = new ReplicaHarness();
      return rejection(network.call(MANAGEMENT_CANISTER, "start_canister", wrong));
    };
    const first = answerOf();
    equal(answerOf(), first);
  });

  test("a number of a million digits costs no more than a short one", { timeout: 20_000 }, () => {
    const long = concatBytes(
      utf8Bytes("DIDL"),
      Uint8Array.of(0, 1, 0x7d),
      new Uint8Array(1_500_000).fill(0xff),
      Uint8Array.of(1),
    );
    const startMs = performance.now();
    let refused = false;
    try {
      decodeCandid([IDL.Nat], long);
    } catch {
      refused = true;
    }
    ok(refused, "a number of ten million bits is refused");
    ok(performance.now() - startMs < 2_000, "at once");
  });

  test("a count padded with zeros is refused", { timeout: 20_000 }, () => {
    const tablePadded = concatBytes(utf8Bytes("DIDL"), padded(1_000_000), Uint8Array.of(0));
    const vectorPadded = concatBytes(
      utf8Bytes("DIDL"),
      Uint8Array.of(1, 0x6d, 0x78, 1, 0),
      padded(1_000_000),
    );
    for (const bytes of [tablePadded, vectorPadded]) {
      const startMs = performance.now();
      let what = "accepted";
      try {
        decodeCandid([], bytes);
      } catch (error) {
        what = String(error);
      }
      match(what, /number is too/);
      ok(performance.now() - startMs < 2_000, "at once");
    }
  });
});
