// A replica alone with a state in memory: submit calls, make blocks, look at the result. No node, no
// clock, no disk. For tests of the state machine.

import { assert, decodeWith, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { encodeSelfDescribedCbor, MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import {
  type CanisterRecord,
  canisterCodec,
  canisterKey,
  type ConsoleLine,
  createReplica,
  decodeEnvelope,
  type IngressContent,
  ingressCodec,
  ingressKey,
  type IngressStatus,
  KEY_PREFIX,
  type NetworkConfig,
  type NewReceipt,
  type QueryResult,
  type Replica,
} from "gyrotron/replica";
import { MemoryView } from "gyrotron/store";
import loadWabt from "wabt";

const wabt = await loadWabt();
const FEATURES = {
  bulk_memory: true,
  multi_value: true,
  reference_types: true,
  memory64: true,
  tail_call: true,
  simd: true,
};

/** Binary of a text module. */
export function wat(text: string): Uint8Array {
  const module = wabt.parseWat("test.wat", text, FEATURES);
  return new Uint8Array(module.toBinary({ write_debug_names: true }).buffer);
}

export const ANONYMOUS = Uint8Array.of(4);
/** Who proposes blocks unless a test says otherwise. */
export const PROPOSER: Uint8Array = Uint8Array.of(7, 2);
const SECOND = 1_000_000_000n;

/** A state machine under test. */
export class ReplicaHarness {
  readonly replica: Replica;
  readonly console: ConsoleLine[] = [];
  readonly receipts: NewReceipt[] = [];
  /** Every block so far, for replays. */
  readonly blocks: { timeNs: bigint; transactions: Uint8Array[] }[] = [];
  timeNs = 1_700_000_000n * SECOND;
  height = 0n;
  proposer = PROPOSER;
  moreWork = false;
  readonly view = new MemoryView();
  #nonce = 0;

  constructor(
    replica: Replica = createReplica(),
    nodeKeys: Uint8Array[] = [new Uint8Array(44)],
    network: Partial<NetworkConfig> = {},
  ) {
    this.replica = replica;
    const config = {
      subnetId: Uint8Array.of(1, 2),
      rootKeyDer: new Uint8Array(133),
      nodeKeys,
      priceNodes: 13,
      provisional: true,
      subnetAdmins: [],
      thresholdKeys: [],
      ...network,
    };
    this.view.apply(replica.genesis(config, this.timeNs));
  }

  canister(id: Uint8Array): CanisterRecord {
    const bytes = this.view.get(canisterKey(id));
    assert(bytes !== undefined, "the canister exists");
    return decodeWith(canisterCodec, bytes);
  }

  /** Cycles that canisters hold or have consumed. */
  cyclesTotal(): bigint {
    let total = 0n;
    for (const [, bytes] of this.view.range(KEY_PREFIX.canister)) total += worth(bytes);
    return total;
  }

  /** Cycles that one canister holds or has consumed. */
  worthOf(id: Uint8Array): bigint {
    const bytes = this.view.get(canisterKey(id));
    assert(bytes !== undefined, "the canister exists");
    return worth(bytes);
  }

  /** Hash of the whole state, for comparing two histories. */
  digest(): string {
    return sha256(
      ...[...this.view.range(new Uint8Array())].flatMap(([key, value]) => [
        sha256(key),
        sha256(value),
      ]),
    ).toHex();
  }

  /** An anonymous call as a transaction. */
  envelope(canisterId: Uint8Array, method: string, argument: Uint8Array): Uint8Array {
    const nonce = utf8Bytes(`nonce ${this.#nonce++}`);
    return encodeSelfDescribedCbor({
      content: {
        request_type: "call",
        canister_id: canisterId,
        method_name: method,
        arg: argument,
        sender: ANONYMOUS,
        ingress_expiry: this.timeNs + 240n * SECOND,
        nonce,
      },
    });
  }

  /** Makes a block of `transactions` a second later, and more blocks until nothing is left to do. */
  settle(...transactions: Uint8Array[]): void {
    this.block(...transactions);
    for (let round = 0; this.moreWork; round++) {
      assert(round < 100, "the network does not come to rest");
      this.block();
    }
  }

  block(...transactions: Uint8Array[]): void {
    this.timeNs += SECOND;
    this.height += 1n;
    this.blocks.push({ timeNs: this.timeNs, transactions });
    const randomness = sha256(utf8Bytes(`block ${this.height}`));
    const { height, timeNs, proposer } = this;
    const block = { height, timeNs, randomness, proposer, transactions };
    const result = this.replica.execute(this.view, block);
    this.view.apply(result.writes);
    this.console.push(...result.console);
    this.receipts.push(...result.receipts);
    this.moreWork = result.moreWork;
  }

  /** Calls and settles. */
  call(
    canisterId: Uint8Array,
    method: string,
    argument: Uint8Array = new Uint8Array(),
  ): IngressStatus {
    const envelope = this.envelope(canisterId, method, argument);
    this.settle(envelope);
    return this.status(envelope);
  }

  status(envelope: Uint8Array): IngressStatus {
    const decoded = decodeEnvelope(envelope, "call");
    assert(decoded.ok, "the harness makes valid envelopes");
    const bytes = this.view.get(ingressKey(decoded.requestId));
    assert(bytes !== undefined, "the request is known");
    return decodeWith(ingressCodec, bytes).status;
  }

  query(
    canisterId: Uint8Array,
    methodName: string,
    argument: Uint8Array = new Uint8Array(),
  ): QueryResult {
    const content = this.content(canisterId, methodName, argument);
    // What the query took is not part of the answer.
    const { usage: _, ...answer } = this.replica.query(this.view, this.timeNs, content);
    return answer;
  }

  content(
    canisterId: Uint8Array,
    methodName: string,
    argument: Uint8Array = new Uint8Array(),
  ): IngressContent {
    const ingressExpiryNs = this.timeNs + 240n * SECOND;
    return {
      requestId: new Uint8Array(32),
      sender: ANONYMOUS,
      canisterId,
      methodName,
      argument,
      ingressExpiryNs,
      senderInfo: undefined,
    };
  }

  /** Calls a management method with one Candid argument. */
  manage(method: string, type: IDL.Type, value: unknown): IngressStatus {
    return this.call(MANAGEMENT_CANISTER, method, encodeCandid([type], [value]));
  }

  /** A new canister with code, controlled by the anonymous user. */
  install(
    module: Uint8Array,
    argument: Uint8Array = new Uint8Array(),
    cycles = 100_000_000_000_000n,
  ): Uint8Array {
    const id = this.create(cycles);
    const status = this.installOn(id, module, { install: null }, argument);
    assert(
      status.kind === "replied",
      JSON.stringify(status, (_, v) => (typeof v === "bigint" ? String(v) : v)),
    );
    return id;
  }

  create(cycles = 100_000_000_000_000n): Uint8Array {
    const type = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
    const status = this.manage("provisional_create_canister_with_cycles", type, {
      amount: [cycles],
    });
    assert(status.kind === "replied", "canister created");
    const [{ canister_id }] = decodeCandid(
      [IDL.Record({ canister_id: IDL.Principal })],
      status.reply,
    ) as [{ canister_id: { toUint8Array(): Uint8Array } }];
    return canister_id.toUint8Array();
  }

  installOn(
    id: Uint8Array,
    module: Uint8Array,
    mode: unknown,
    argument: Uint8Array = new Uint8Array(),
  ): IngressStatus {
    return this.manage("install_code", INSTALL_CODE, {
      mode,
      canister_id: toIdlPrincipal(id),
      wasm_module: module,
      arg: argument,
    });
  }
}

function worth(record: Uint8Array): bigint {
  const { cycles, consumed } = decodeWith(canisterCodec, record);
  return cycles + Object.values(consumed).reduce((sum, amount) => sum + amount, 0n);
}

const PERSISTENCE = IDL.Variant({ keep: IDL.Null, replace: IDL.Null });
export const INSTALL_CODE: IDL.Type = IDL.Record({
  mode: IDL.Variant({
    install: IDL.Null,
    reinstall: IDL.Null,
    upgrade: IDL.Opt(
      IDL.Record({
        skip_pre_upgrade: IDL.Opt(IDL.Bool),
        wasm_memory_persistence: IDL.Opt(PERSISTENCE),
      }),
    ),
  }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});

/** The argument of most management methods. */
export const ONLY_ID: IDL.Type = IDL.Record({ canister_id: IDL.Principal });
