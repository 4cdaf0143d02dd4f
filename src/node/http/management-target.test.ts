// Which canister a call of the management canister is about, as its URL must name it.

import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { ANONYMOUS_PRINCIPAL, canisterIdFromU64, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { managementTarget } from "./management-target.ts";

const id = canisterIdFromU64(7n);

function targetOf(methodName: string, argument: Uint8Array): Uint8Array | undefined {
  return managementTarget({
    kind: "call",
    canisterId: MANAGEMENT_CANISTER,
    methodName,
    argument,
    sender: ANONYMOUS_PRINCIPAL,
    ingressExpiryNs: 0n,
    nonce: undefined,
    senderInfo: undefined,
  });
}

const record = (field: string): Uint8Array =>
  encodeCandid([IDL.Record({ [field]: IDL.Principal })], [{ [field]: toIdlPrincipal(id) }]);

test("the canister in the argument, under the name that the method gives it", () => {
  deepEqual(targetOf("start_canister", record("canister_id")), id);
  deepEqual(targetOf("install_chunked_code", record("target_canister")), id);
});

test("creation has no canister yet, and what does not decode is left to execution", () => {
  equal(targetOf("create_canister", record("canister_id")), undefined);
  equal(targetOf("provisional_create_canister_with_cycles", record("canister_id")), undefined);
  equal(targetOf("start_canister", record("another_name")), undefined);
  equal(targetOf("start_canister", Uint8Array.of(68, 73, 68)), undefined);
});
