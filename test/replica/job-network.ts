// A network of nodes that sign, on a replica without any node: jobs are recorded, attested and
// delivered with results that the test makes up. No model runs.

import { decodeWith } from "gyrotron/base";
import { encodeCandid, IDL } from "gyrotron/candid";
import { ed25519PublicKeyDer, sha256, signEd25519 } from "gyrotron/crypto";
import { encodeJobResult, type JobResult, jobResultHash, type ModelRecord } from "gyrotron/job";
import {
  createReplica,
  encodeResultMessage,
  encodeSignedStatement,
  KEY_PREFIX,
  LLM_CANISTER_ID,
  type NodeStatement,
  type PendingJob,
  pendingJobCodec,
} from "gyrotron/replica";
import { ReplicaHarness, wat } from "./harness.ts";

export const MODEL: ModelRecord = {
  name: "tiny",
  hash: sha256(Uint8Array.of(1)),
  contextTokensMax: 200,
  macsPerToken: 2_000_000_000n,
  macsPerPosition: 1_000_000n,
  frameTokensMax: 4,
  messageTokensMax: 0,
};
export const REQUEST: IDL.Type = IDL.Record({
  model: IDL.Text,
  messages: IDL.Vec(
    IDL.Record({
      role: IDL.Variant({ user: IDL.Null, assistant: IDL.Null, system: IDL.Null }),
      content: IDL.Text,
    }),
  ),
});

/** Passes its argument to v0_chat with `cycles`, and answers with what comes back. */
export const asker = (cycles: bigint): Uint8Array =>
  wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_cycles_add" (func $cycles (param i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 2)
  (table funcref (elem $on_reply $on_reject))
  (data (i32.const 0) "${[...LLM_CANISTER_ID].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}")
  (data (i32.const 32) "v0_chat")
  (func $on_reply (param i32)
    (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1000) (call $arg_size)) (call $reply))
  (func $on_reject (param i32)
    (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
    (call $reject (i32.const 1000) (call $reject_size)))
  (func (export "canister_update ask")
    (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $new (i32.const 0) (i32.const ${LLM_CANISTER_ID.length}) (i32.const 32) (i32.const 7)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $data (i32.const 1000) (call $arg_size))
    (call $cycles (i64.const ${cycles}))
    (drop (call $perform))))`);

/** A network of nodes that sign. */
export class JobNetwork extends ReplicaHarness {
  readonly seeds: Uint8Array[];

  constructor(nodes: number) {
    const seeds = Array.from({ length: nodes }, (_, index) => new Uint8Array(32).fill(index + 1));
    super(createReplica(), seeds.map(ed25519PublicKeyDer));
    this.seeds = seeds;
  }

  says(node: number, statement: NodeStatement): Uint8Array {
    const seed = this.seeds[node]!;
    return encodeSignedStatement(statement, ed25519PublicKeyDer(seed), (message) =>
      signEd25519(seed, message),
    );
  }

  attests(node: number, job: bigint, result: JobResult): Uint8Array {
    return this.says(node, {
      kind: "attest",
      job,
      resultHash: jobResultHash(encodeJobResult(result)),
    });
  }

  /** Attestation of one node and the bytes: all that a network of one node needs. */
  delivers(job: bigint, result: JobResult): Uint8Array[] {
    return [this.attests(0, job, result), encodeResultMessage(job, encodeJobResult(result))];
  }

  register(model = MODEL): void {
    this.settle(...this.seeds.map((_, node) => this.says(node, { kind: "registerModel", model })));
  }

  ask(id: Uint8Array, content: string, model = "tiny"): Uint8Array {
    const request = { model, messages: [{ role: { user: null }, content }] };
    const envelope = this.envelope(id, "ask", encodeCandid([REQUEST], [request]));
    this.settle(envelope);
    return envelope;
  }

  pending(): PendingJob[] {
    return [...this.view.range(KEY_PREFIX.job)].map(([, bytes]) =>
      decodeWith(pendingJobCodec, bytes),
    );
  }
}
