// A network for tests of canisters: the real state machine in memory, with a clock that the test
// moves, callers that need no keys, and jobs that the test answers. Blocks are made when asked for.
// Owns no HTTP and no certificates: `data_certificate` is absent in queries.

import {
  assert,
  concatBytes,
  decodeWith,
  encodeWith,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";
import {
  decodeCandid,
  encodeCandid,
  IDL,
  type IdlPrincipal,
  toIdlPrincipal,
} from "gyrotron/candid";
import {
  ANONYMOUS_PRINCIPAL,
  ed25519PublicKeyDer,
  encodeSelfDescribedCbor,
  hashOfMap,
  MANAGEMENT_CANISTER,
  selfAuthenticating,
  sha256,
} from "gyrotron/crypto";
import {
  canisterCodec,
  canisterKey,
  type CanisterRecord,
  type ConsoleLine,
  createReplica,
  type IngressContent,
  ingressCodec,
  ingressKey,
  type IngressStatus,
  type NetworkConfig,
  type QueryResult,
  type Replica,
} from "gyrotron/replica";
import { MemoryView } from "gyrotron/store";
import { CREATED, CREATION, INSTALL } from "./management-types.ts";
import { type PrincipalLike, principalBytes, principalOf } from "./principal-like.ts";
import { createTestActor, type IdlFactory } from "./test-actor.ts";
import { TestError } from "./test-error.ts";
import { TestJobs } from "./test-jobs.ts";
import { TestOutcalls } from "./test-outcalls.ts";

/** What a test may choose of its network. */
export interface TestNetworkOptions {
  /** Nanoseconds since 1970; 2026-01-01 unless given. */
  timeNs?: bigint;
  /** Number of nodes that prices are computed for: 13 unless given, 0 makes everything free. */
  priceNodes?: number;
  /** Number of the first canister that is created without a chosen id: 2^63 unless given. */
  firstCanister?: bigint;
}

/** Who calls, the anonymous user unless given. */
export interface CallOptions {
  sender?: PrincipalLike;
}

/** How a canister is created. */
export interface CreationOptions extends CallOptions {
  /** 100 T unless given. */
  cycles?: bigint;
  /** The sender unless given. */
  controllers?: readonly PrincipalLike[];
  /** An id of one's choice, below those that the network gives. */
  id?: PrincipalLike;
}

/** How code is installed. */
export interface InstallOptions extends CallOptions {
  mode?: "install" | "reinstall" | "upgrade";
  /** Encoded Candid; none unless given. */
  argument?: Uint8Array;
  /** Upgrades of canisters that keep their main memory, as Motoko's do. */
  keepMemory?: boolean;
}

/** What became of a call: nothing yet, or its end. */
export type CallState =
  | { kind: "waiting" }
  | { kind: "replied"; reply: Uint8Array }
  | { kind: "rejected"; rejectCode: number; errorCode: string; message: string };

/** A call that was sent. */
export interface SentCall {
  readonly method: string;
  readonly requestId: Uint8Array;
}

const DEFAULT_TIME_NS = 1_767_225_600_000_000_000n;
const EXPIRY_NS = 240_000_000_000n;
const NODE_SEED = new Uint8Array(32).fill(1);
const ROOT_KEY_BYTES = 133;
const SUBNET_ID = selfAuthenticating(utf8Bytes("gyrotron test network"));
const NODE_ID = selfAuthenticating(ed25519PublicKeyDer(NODE_SEED));
const DEFAULT_CYCLES = 100_000_000_000_000n;
/** A network that is not at rest after so many blocks never will be. */
const BLOCKS_MAX = 10_000;
/** Modules above this go through the chunk store: an ingress message has 2 MiB. */
const DIRECT_MODULE_BYTES = 1_900_000;
const CHUNK_BYTES = 1_000_000;

/** Creates a network without canisters. */
export function createTestNetwork(options: TestNetworkOptions = {}): TestNetwork {
  return new TestNetwork(options);
}

/** A network in memory. */
export class TestNetwork {
  /** Jobs that canisters have given to language models; the test answers them. */
  readonly jobs: TestJobs;
  /** Requests of canisters to the world; the test answers them. */
  readonly outcalls: TestOutcalls;
  readonly #replica: Replica = createReplica();
  readonly #view = new MemoryView();
  readonly #console: ConsoleLine[] = [];
  #timeNs: bigint;
  #height = 0n;
  #nonce = 0n;
  #moreWork = false;
  #waiting: { transaction: Uint8Array; sender: Uint8Array }[] = [];

  constructor(options: TestNetworkOptions) {
    this.#timeNs = options.timeNs ?? DEFAULT_TIME_NS;
    const config: NetworkConfig = {
      subnetId: SUBNET_ID,
      rootKeyDer: new Uint8Array(ROOT_KEY_BYTES),
      nodeKeys: [ed25519PublicKeyDer(NODE_SEED)],
      priceNodes: options.priceNodes ?? 13,
      firstCanister: options.firstCanister,
      provisional: true,
      subnetAdmins: [],
      thresholdKeys: [],
    };
    this.#view.apply(this.#replica.genesis(config, this.#timeNs));
    const submit = (transaction: Uint8Array): void =>
      this.#enqueue(transaction, ANONYMOUS_PRINCIPAL);
    this.jobs = new TestJobs(this.#view, NODE_SEED, submit);
    this.outcalls = new TestOutcalls({
      view: this.#view,
      nodeSeed: NODE_SEED,
      submit,
      transform: (canister, method, argument) =>
        this.#runQuery(MANAGEMENT_CANISTER, canister, method, argument, { isTransform: true }),
    });
  }

  /** The time of the next block, ns since 1970. */
  get timeNs(): bigint {
    return this.#timeNs;
  }

  /** Everything that canisters have printed, oldest first. */
  get console(): readonly ConsoleLine[] {
    return this.#console;
  }

  /** Moves the clock to a later time, ns since 1970; the next block sees it. @throws TestError */
  setTime(timeNs: bigint): void {
    if (timeNs < this.#timeNs)
      throw new TestError({ code: "testing/time", what: "time does not go back" });
    this.#timeNs = timeNs;
  }

  /** Moves the clock by some seconds. */
  advanceTime(seconds: number): void {
    this.setTime(this.#timeNs + BigInt(Math.round(seconds * 1e9)));
  }

  /** Makes blocks: timers that are due fire, messages run. */
  tick(blocks = 1): void {
    for (let made = 0; made < blocks; made++) this.#block();
  }

  /** Makes blocks until nothing is left to do at this time. */
  settle(): void {
    let made = 0;
    do {
      assert(++made <= BLOCKS_MAX, "the network comes to rest");
      this.#block();
    } while (this.#moreWork || this.#waiting.length > 0);
  }

  /** Creates a canister. @throws TestError `testing/rejected` */
  createCanister(options: CreationOptions = {}): IdlPrincipal {
    const { cycles = DEFAULT_CYCLES, controllers, id, ...caller } = options;
    const given = {
      amount: [cycles],
      settings: [{ controllers: controllers === undefined ? [] : [controllers.map(principalOf)] }],
      specified_id: id === undefined ? [] : [principalOf(id)],
    };
    const reply = this.#manage("provisional_create_canister_with_cycles", CREATION, given, caller);
    const [{ canister_id }] = decodeCandid([CREATED], reply) as [{ canister_id: IdlPrincipal }];
    return canister_id;
  }

  /** Installs code. @throws TestError `testing/rejected` */
  install(canister: PrincipalLike, module: Uint8Array, options: InstallOptions = {}): void {
    const { mode = "install", argument, keepMemory, ...caller } = options;
    const persistence = keepMemory === true ? [{ keep: null }] : [];
    const upgrade = [{ skip_pre_upgrade: [], wasm_memory_persistence: persistence }];
    const common = {
      mode: mode === "upgrade" ? { upgrade } : { [mode]: null },
      arg: argument ?? encodeCandid([], []),
    };
    const canister_id = principalOf(canister);
    if (module.length <= DIRECT_MODULE_BYTES) {
      const given = { ...common, canister_id, wasm_module: module };
      this.#manage("install_code", INSTALL.direct, given, caller);
      return;
    }
    this.#manage("clear_chunk_store", INSTALL.clear, { canister_id }, caller);
    const chunk_hashes_list: { hash: Uint8Array }[] = [];
    for (let start = 0; start < module.length; start += CHUNK_BYTES) {
      const chunk = module.slice(start, start + CHUNK_BYTES);
      this.#manage("upload_chunk", INSTALL.upload, { canister_id, chunk }, caller);
      chunk_hashes_list.push({ hash: sha256(chunk) });
    }
    const wasm_module_hash = sha256(module);
    const given = { ...common, target_canister: canister_id, chunk_hashes_list, wasm_module_hash };
    this.#manage("install_chunked_code", INSTALL.chunked, given, caller);
  }

  /** Creates a canister and installs code. @throws TestError `testing/rejected` */
  deploy(module: Uint8Array, options: CreationOptions & InstallOptions = {}): IdlPrincipal {
    const canister = this.createCanister(options);
    this.install(canister, module, options);
    return canister;
  }

  /** A canister's methods as functions; calls that are rejected throw TestErrors. */
  actor<Methods>(canister: PrincipalLike, factory: IdlFactory, options: CallOptions = {}): Methods {
    return createTestActor(factory, {
      call: (method, argument) => this.call(canister, method, argument, options),
      query: (method, argument) => this.query(canister, method, argument, options),
    }) as Methods;
  }

  /** Calls a method and makes blocks until it is answered; its reply. @throws TestError */
  call(
    canister: PrincipalLike,
    method: string,
    argument: Uint8Array = encodeCandid([], []),
    options: CallOptions = {},
  ): Uint8Array {
    const sent = this.submit(canister, method, argument, options);
    this.settle();
    const state = this.stateOf(sent);
    if (state.kind === "waiting") throw new TestError({ code: "testing/no-answer", method });
    return replyOf(method, state);
  }

  /** Sends a call without making a block. What the canister's inspect_message refuses is rejected at once. @throws TestError */
  submit(
    canister: PrincipalLike,
    method: string,
    argument: Uint8Array = encodeCandid([], []),
    options: CallOptions = {},
  ): SentCall {
    const sender = principalBytes(options.sender ?? ANONYMOUS_PRINCIPAL);
    const fields = {
      request_type: "call",
      canister_id: principalBytes(canister),
      method_name: method,
      arg: argument,
      sender,
      ingress_expiry: this.#timeNs + EXPIRY_NS,
      nonce: u64BigEndian(this.#nonce++),
    };
    const requestId = hashOfMap(fields);
    const content = this.#content(requestId, sender, fields.canister_id, method, argument);
    const refusal = this.#replica.precheck(this.#view, this.#timeNs, content);
    if (refusal !== undefined) replyOf(method, callState(refusal));
    this.#enqueue(encodeSelfDescribedCbor({ content: fields }), sender);
    return { method, requestId };
  }

  /** What has become of a call. */
  stateOf({ requestId }: SentCall): CallState {
    const bytes = this.#view.get(ingressKey(requestId));
    if (bytes === undefined) return { kind: "waiting" };
    return callState(decodeWith(ingressCodec, bytes).status);
  }

  /** Queries a method; its reply. @throws TestError `testing/rejected` */
  query(
    canister: PrincipalLike,
    method: string,
    argument: Uint8Array = encodeCandid([], []),
    options: CallOptions = {},
  ): Uint8Array {
    const sender = principalBytes(options.sender ?? ANONYMOUS_PRINCIPAL);
    return this.#runQuery(sender, principalBytes(canister), method, argument);
  }

  /** Adds cycles from nowhere, without a message that somebody would have to pay for. */
  addCycles(canister: PrincipalLike, amount: bigint): void {
    assert(amount >= 0n, "the amount is not negative");
    const record = this.#record(canister);
    const changed = encodeWith(canisterCodec, { ...record, cycles: record.cycles + amount });
    this.#view.apply([{ key: canisterKey(record.id), value: changed }]);
  }

  /** Cycles that a canister has. */
  cyclesOf(canister: PrincipalLike): bigint {
    return this.#record(canister).cycles;
  }

  /** Principals that control a canister. */
  controllersOf(canister: PrincipalLike): IdlPrincipal[] {
    return this.#record(canister).settings.controllers.map(toIdlPrincipal);
  }

  #runQuery(
    sender: Uint8Array,
    canister: Uint8Array,
    method: string,
    argument: Uint8Array,
    kind: Pick<IngressContent, "isTransform"> = {},
  ): Uint8Array {
    const requestId = hashOfMap({ query: method, nonce: u64BigEndian(this.#nonce++) });
    const content = this.#content(requestId, sender, canister, method, argument);
    const result = this.#replica.query(this.#view, this.#timeNs, { ...content, ...kind });
    this.#console.push(...result.console);
    return replyOf(method, callState(result));
  }

  #record(canister: PrincipalLike): CanisterRecord {
    const bytes = this.#view.get(canisterKey(principalBytes(canister)));
    assert(bytes !== undefined, "the canister exists");
    return decodeWith(canisterCodec, bytes);
  }

  #manage(method: string, type: IDL.Type, value: object, options: CallOptions): Uint8Array {
    return this.call(MANAGEMENT_CANISTER, method, encodeCandid([type], [value]), options);
  }

  #content(
    requestId: Uint8Array,
    sender: Uint8Array,
    canisterId: Uint8Array,
    methodName: string,
    argument: Uint8Array,
  ): IngressContent {
    const ingressExpiryNs = this.#timeNs + EXPIRY_NS;
    const senderInfo = undefined;
    return { requestId, sender, canisterId, methodName, argument, ingressExpiryNs, senderInfo };
  }

  #enqueue(transaction: Uint8Array, sender: Uint8Array): void {
    this.#waiting.push({ transaction, sender });
  }

  #block(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#height++;
    const block = {
      height: this.#height,
      timeNs: this.#timeNs,
      randomness: sha256(concatBytes(SUBNET_ID, u64BigEndian(this.#height))),
      proposer: NODE_ID,
      transactions: waiting.map(({ transaction }) => transaction),
    };
    // Nobody signs here: each sender is who the test says.
    const authenticated = waiting.map(({ sender }) => ({
      ok: true as const,
      sender,
      targets: undefined,
      delegationExpiryNs: undefined,
      isQueriesOnly: false,
    }));
    const executed = this.#replica.execute(this.#view, block, authenticated);
    this.#view.apply(executed.writes);
    this.#console.push(...executed.console);
    this.#moreWork = executed.moreWork;
    this.#timeNs++;
  }
}

function callState(status: IngressStatus | QueryResult): CallState {
  if (status.kind === "replied") return { kind: "replied", reply: status.reply };
  if (status.kind !== "rejected") return { kind: "waiting" };
  const { rejectCode, errorCode, message } = status;
  return { kind: "rejected", rejectCode, errorCode, message };
}

/** @throws TestError `testing/rejected` */
function replyOf(method: string, state: CallState): Uint8Array {
  if (state.kind === "replied") return state.reply;
  assert(state.kind === "rejected", "the call has ended");
  const { rejectCode, errorCode, message } = state;
  throw new TestError({ code: "testing/rejected", method, rejectCode, errorCode, message });
}
