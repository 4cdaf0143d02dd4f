// An anonymous client of a node: builds envelopes as an agent would, installs canisters, reads
// certified replies. Calls are plain bytes, so that a test can send the very same one again.

import assert from "node:assert/strict";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { ANONYMOUS_PRINCIPAL, encodeSelfDescribedCbor, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import type { CallOutcome, CallRequest } from "gyrotron/node";
import {
  decodeCertificate,
  decodeEnvelope,
  type IngressContent,
  lookupPath,
  treePath,
  verifyCertificate,
} from "gyrotron/replica";
import loadWabt from "wabt";

const LIFETIME_NS = 240_000_000_000n;
let nonceCount = 0;

/** Anything that takes calls: a node in this process or a channel to another. */
export interface CallTarget {
  submit(envelope: Uint8Array): Promise<CallOutcome>;
}

/** A counter with `canister_update increment` and `canister_query get`, both answering 8 bytes. */
export async function counterWasm(): Promise<Uint8Array> {
  const { parseWat } = await loadWabt();
  const module = parseWat("counter.wat", COUNTER_WAT, { bulk_memory: true });
  return new Uint8Array(module.toBinary({ write_debug_names: true }).buffer);
}

/** A fresh anonymous call, valid for four minutes from `nowNs`. */
export function callEnvelope(
  canisterId: Uint8Array,
  methodName: string,
  argument: Uint8Array = new Uint8Array(0),
  nowNs: bigint = BigInt(Date.now()) * 1_000_000n,
): Uint8Array {
  return encodeSelfDescribedCbor({
    content: {
      request_type: "call",
      canister_id: canisterId,
      method_name: methodName,
      arg: argument,
      sender: ANONYMOUS_PRINCIPAL,
      ingress_expiry: nowNs + LIFETIME_NS,
      nonce: new Uint8Array(new BigUint64Array([BigInt(++nonceCount)]).buffer),
    },
  });
}

/** The request that an envelope makes. */
export function requestOf(envelope: Uint8Array): CallRequest {
  const decoded = decodeEnvelope(envelope, "call");
  assert.ok(decoded.ok);
  const content: IngressContent = { ...decoded.content, requestId: decoded.requestId };
  return { envelope, content };
}

/** The reply in a call's certificate, whose signature is checked where a key is given. */
export function certifiedReply(
  outcome: CallOutcome,
  requestId: Uint8Array,
  rootKeyDer?: Uint8Array,
): Uint8Array {
  assert.equal(outcome.kind, "certified");
  const certificate = decodeCertificate((outcome as { certificate: Uint8Array }).certificate);
  assert.ok(rootKeyDer === undefined || verifyCertificate(certificate, rootKeyDer));
  const field = (name: string): Uint8Array | undefined => {
    const found = lookupPath(certificate.tree, treePath("request_status", requestId, name));
    return found.kind === "found" ? found.value : undefined;
  };
  const reply = field("reply");
  assert.ok(reply, `rejected: ${Buffer.from(field("reject_message") ?? []).toString()}`);
  return reply;
}

/** Creates a canister and installs `wasm` on it. */
export async function install(
  target: CallTarget,
  wasm: Uint8Array,
  nowNs?: bigint,
): Promise<Uint8Array> {
  const manage = async (method: string, type: IDL.Type, value: unknown): Promise<Uint8Array> => {
    const envelope = callEnvelope(
      MANAGEMENT_CANISTER,
      method,
      encodeCandid([type], [value]),
      nowNs,
    );
    const outcome = await target.submit(envelope);
    return certifiedReply(outcome, requestOf(envelope).content.requestId);
  };
  const amount = 100_000_000_000_000n;
  const created = await manage("provisional_create_canister_with_cycles", CREATE, {
    amount: [amount],
  });
  const [{ canister_id }] = decodeCandid([CREATED], created) as [
    { canister_id: { toUint8Array(): Uint8Array } },
  ];
  const id = canister_id.toUint8Array();
  await manage("install_code", INSTALL, {
    mode: { install: null },
    canister_id: toIdlPrincipal(id),
    wasm_module: wasm,
    arg: new Uint8Array(0),
  });
  return id;
}

const CREATE = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
const CREATED = IDL.Record({ canister_id: IDL.Principal });
const INSTALL = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});

const COUNTER_WAT = `(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (func $answer (call $append (i32.const 0) (i32.const 8)) (call $reply))
  (func (export "canister_update increment")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (call $answer))
  (func (export "canister_query get") (call $answer)))`;
