// The records of replicated state and their encodings (spec 07). Owns the schema; behaviour is in the
// rooms that use them. Times are ns since 1970, amounts are cycles.

import { type Codec, codec } from "gyrotron/base";
import type { ImageState } from "gyrotron/canister";
import { type IngressStatus, ingressStatusCodec } from "../certification/index.ts";
import { type TokenConfig, tokenConfigCodec } from "../system-canisters/config.ts";
import type { NetworkConfig, ThresholdKey } from "../contract.ts";

const { bool, bytes, fixedBytes, list, oneOf, option, record, text, u32, u64, u8, u128, variant } =
  codec;

const thresholdKeyCodec: Codec<ThresholdKey> = record<{
  [K in keyof ThresholdKey]: ThresholdKey[K];
}>({
  scheme: oneOf("ecdsa", "bip340", "ed25519", "vetkd"),
  name: text,
  publicKey: bytes,
});

/** Also how the genesis record has it. */
export const networkCodec: Codec<NetworkConfig> = record<{
  subnetId: Uint8Array;
  rootKeyDer: Uint8Array;
  nodeKeys: Uint8Array[];
  priceNodes: number;
  firstCanister?: bigint | undefined;
  tokens?: TokenConfig | undefined;
  provisional: boolean;
  subnetAdmins: Uint8Array[];
  thresholdKeys: ThresholdKey[];
}>({
  subnetId: bytes,
  rootKeyDer: bytes,
  nodeKeys: list(bytes, 4),
  priceNodes: u32,
  firstCanister: option(u64),
  tokens: option(tokenConfigCodec),
  provisional: bool,
  subnetAdmins: list(bytes, 4),
  thresholdKeys: list(thresholdKeyCodec, 9),
});

/** Counters and the run queue. Holds no time and no height: idle blocks must not change the state root. */
export interface SystemRecord {
  nextCanisterNumber: bigint;
  nextTaskNumber: bigint;
  /** Generations of canister images are unique, so that a cached image is never mistaken for another. */
  nextGeneration: bigint;
  /** Canisters with waiting messages, in the order in which they run next. */
  runQueue: Uint8Array[];
  nextJobNumber: bigint;
  pendingJobs: number;
  /** Canisters that export a heartbeat, and when heartbeats last ran. */
  heartbeats: Uint8Array[];
  lastHeartbeatNs: bigint;
}

export const systemCodec: Codec<SystemRecord> = record<{
  [K in keyof SystemRecord]: SystemRecord[K];
}>({
  nextCanisterNumber: u64,
  nextTaskNumber: u64,
  nextGeneration: u64,
  runQueue: list(bytes, 4),
  nextJobNumber: u64,
  pendingJobs: u32,
  heartbeats: list(bytes, 4),
  lastHeartbeatNs: u64,
});

/** Who may see something of a canister besides its controllers. */
export type Visibility =
  { kind: "controllers" } | { kind: "public" } | { kind: "allowedViewers"; viewers: Uint8Array[] };

const visibilityCodec: Codec<Visibility> = variant<Visibility>({
  controllers: record({}),
  public: record({}),
  allowedViewers: record<{ viewers: Uint8Array[] }>({ viewers: list(bytes, 4) }),
});

/** Settings of a canister (ic-interface settings of the same names). */
export interface CanisterSettings {
  controllers: Uint8Array[];
  /** Percent. */
  computeAllocation: number;
  memoryAllocation: bigint;
  freezingThresholdSeconds: bigint;
  reservedCyclesLimit: bigint;
  minimumIncomingCycles: bigint;
  logVisibility: Visibility;
  snapshotVisibility: Visibility;
  statusVisibility: Visibility;
  /** 0: none. */
  wasmMemoryLimit: bigint;
  wasmMemoryThreshold: bigint;
  /** Sorted by name. */
  environment: { name: string; value: string }[];
  logMemoryLimit: bigint;
}

const settingsCodec: Codec<CanisterSettings> = record<{
  [K in keyof CanisterSettings]: CanisterSettings[K];
}>({
  controllers: list(bytes, 4),
  computeAllocation: u8,
  memoryAllocation: u64,
  freezingThresholdSeconds: u64,
  reservedCyclesLimit: u128,
  minimumIncomingCycles: u128,
  logVisibility: visibilityCodec,
  snapshotVisibility: visibilityCodec,
  statusVisibility: visibilityCodec,
  wasmMemoryLimit: u64,
  wasmMemoryThreshold: u64,
  environment: list(record<{ name: string; value: string }>({ name: text, value: text }), 8),
  logMemoryLimit: u64,
});

/** Where the answer to a call goes. */
export type CallOrigin =
  | { kind: "ingress"; requestId: Uint8Array; sender: Uint8Array }
  | { kind: "canister"; canisterId: Uint8Array; callback: bigint }
  /** Timers, heartbeats and the like: nobody waits. */
  | { kind: "system" };

export const originCodec: Codec<CallOrigin> = variant<CallOrigin>({
  ingress: record<{ requestId: Uint8Array; sender: Uint8Array }>({
    requestId: bytes,
    sender: bytes,
  }),
  canister: record<{ canisterId: Uint8Array; callback: bigint }>({
    canisterId: bytes,
    callback: u64,
  }),
  system: record({}),
});

/** A call to stop_canister that waits for open call contexts. */
export interface StopWaiter {
  origin: CallOrigin;
  cycles: bigint;
  deadlineNs: bigint;
}

/** What a canister's installed code is, as far as the replica needs to know without parsing it. */
export interface InstalledCode {
  moduleHash: Uint8Array;
  moduleBytes: number;
  customSectionsBytes: number;
  /** Has private section enhanced-orthogonal-persistence. */
  keepsMainMemory: boolean;
  hasGlobalTimer: boolean;
  hasLowMemoryHook: boolean;
}

const codeCodec: Codec<InstalledCode> = record<{ [K in keyof InstalledCode]: InstalledCode[K] }>({
  moduleHash: fixedBytes(32),
  moduleBytes: u32,
  customSectionsBytes: u32,
  keepsMainMemory: bool,
  hasGlobalTimer: bool,
  hasLowMemoryHook: bool,
});

export const imageCodec: Codec<ImageState> = record<{
  heapPages: number;
  heapPagesPhysical: number;
  stablePages: number;
  globals: Uint8Array;
}>({ heapPages: u32, heapPagesPhysical: u32, stablePages: u32, globals: bytes });

/** Everything of a canister but its memories, queue, contexts and logs. */
export interface CanisterRecord {
  id: Uint8Array;
  status: "running" | "stopping" | "stopped";
  stopWaiters: StopWaiter[];
  settings: CanisterSettings;
  version: bigint;
  cycles: bigint;
  reservedCycles: bigint;
  code: InstalledCode | undefined;
  image: ImageState;
  /** Changes whenever memories change other than by an execution. */
  generation: bigint;
  globalTimerNs: bigint;
  lowMemoryHook: "notSatisfied" | "ready" | "executed";
  nextContext: bigint;
  nextCallback: bigint;
  openContexts: number;
  /** Unanswered calls by callee, for the queue limit. */
  outstandingCalls: { callee: Uint8Array; count: number }[];
  /** Storage and compute are paid up to here. */
  chargedUntilNs: bigint;
  createdNs: bigint;
  installedNs: bigint | undefined;
  consumed: ConsumedCycles;
  storedChunks: number;
  nextLogIndex: bigint;
  /** GPU jobs that are not settled. */
  pendingJobs: number;
  nextSnapshot: bigint;
  /** Bytes that all snapshots of the canister count. */
  snapshotBytes: bigint;
  /** Encoded size of the history. */
  historyBytes: number;
  /** When the sweep looks whether the canister has run out of cycles; 0: never. */
  sweepNs: bigint;
  queryStats: QueryStats;
}

/** What queries have asked of a canister, as far as nodes have reported it. */
export interface QueryStats {
  calls: bigint;
  instructions: bigint;
  requestBytes: bigint;
  responseBytes: bigint;
}

export const queryStatsCodec: Codec<QueryStats> = record<{
  [K in keyof QueryStats]: QueryStats[K];
}>({ calls: u64, instructions: u64, requestBytes: u64, responseBytes: u64 });

/** Cycles a canister has paid, by use case. */
export interface ConsumedCycles {
  memory: bigint;
  computeAllocation: bigint;
  ingressInduction: bigint;
  instructions: bigint;
  transmission: bigint;
  uninstall: bigint;
  creation: bigint;
  httpOutcalls: bigint;
  signatures: bigint;
  gpu: bigint;
  burned: bigint;
}

const consumedCodec: Codec<ConsumedCycles> = record<{
  [K in keyof ConsumedCycles]: ConsumedCycles[K];
}>({
  memory: u128,
  computeAllocation: u128,
  ingressInduction: u128,
  instructions: u128,
  transmission: u128,
  uninstall: u128,
  creation: u128,
  httpOutcalls: u128,
  signatures: u128,
  gpu: u128,
  burned: u128,
});

export const canisterCodec: Codec<CanisterRecord> = record<{
  [K in keyof CanisterRecord]: CanisterRecord[K];
}>({
  id: bytes,
  status: oneOf("running", "stopping", "stopped"),
  stopWaiters: list(
    record<{ origin: CallOrigin; cycles: bigint; deadlineNs: bigint }>({
      origin: originCodec,
      cycles: u128,
      deadlineNs: u64,
    }),
  ),
  settings: settingsCodec,
  version: u64,
  cycles: u128,
  reservedCycles: u128,
  code: option(codeCodec),
  image: imageCodec,
  generation: u64,
  globalTimerNs: u64,
  lowMemoryHook: oneOf("notSatisfied", "ready", "executed"),
  nextContext: u64,
  nextCallback: u64,
  openContexts: u32,
  outstandingCalls: list(
    record<{ callee: Uint8Array; count: number }>({ callee: bytes, count: u32 }),
    8,
  ),
  chargedUntilNs: u64,
  createdNs: u64,
  installedNs: option(u64),
  consumed: consumedCodec,
  storedChunks: u32,
  nextLogIndex: u64,
  pendingJobs: u32,
  nextSnapshot: u64,
  snapshotBytes: u64,
  historyBytes: u32,
  sweepNs: u64,
  queryStats: queryStatsCodec,
});

/** One answered-or-not call that a canister is working on. */
export interface CallContext {
  origin: CallOrigin;
  caller: Uint8Array;
  callerInfo: { data: Uint8Array; signer: Uint8Array } | undefined;
  cyclesAvailable: bigint;
  /** 0: none. */
  deadlineNs: bigint;
  outstanding: number;
  responded: boolean;
  instructions: bigint;
  /** The canister was uninstalled: later responses only refund. */
  deleted: boolean;
}

export const callContextCodec: Codec<CallContext> = record<{
  [K in keyof CallContext]: CallContext[K];
}>({
  origin: originCodec,
  caller: bytes,
  callerInfo: option(
    record<{ data: Uint8Array; signer: Uint8Array }>({ data: bytes, signer: bytes }),
  ),
  cyclesAvailable: u128,
  deadlineNs: u64,
  outstanding: u32,
  responded: bool,
  instructions: u64,
  deleted: bool,
});

/** A function to run in a table of the canister. */
export interface Closure {
  tableIndex: bigint;
  environment: bigint;
}

const closureCodec: Codec<Closure> = record<{ tableIndex: bigint; environment: bigint }>({
  tableIndex: u64,
  environment: u64,
});

/** An unanswered call that a canister made. */
export interface Callback {
  context: bigint;
  callee: Uint8Array;
  onReply: Closure;
  onReject: Closure;
  onCleanup: Closure | undefined;
  cyclesSent: bigint;
  responseReserved: bigint;
  callbackReserved: bigint;
  /** 0: guaranteed response. */
  deadlineNs: bigint;
}

export const callbackCodec: Codec<Callback> = record<{ [K in keyof Callback]: Callback[K] }>({
  context: u64,
  callee: bytes,
  onReply: closureCodec,
  onReject: closureCodec,
  onCleanup: option(closureCodec),
  cyclesSent: u128,
  responseReserved: u128,
  callbackReserved: u128,
  deadlineNs: u64,
});

/** A reply or reject on its way. */
export type Response =
  | { kind: "reply"; bytes: Uint8Array }
  | {
      kind: "reject";
      rejectCode: number;
      errorCode: number;
      message: string;
      /** The callee rejected by itself: its text passes unchanged. */
      byCallee: boolean;
    };

const responseCodec: Codec<Response> = variant<Response>({
  reply: record<{ bytes: Uint8Array }>({ bytes }),
  reject: record<{ rejectCode: number; errorCode: number; message: string; byCallee: boolean }>({
    rejectCode: u8,
    errorCode: u32,
    message: text,
    byCallee: bool,
  }),
});

/** A call from a user. */
export interface IngressMessage {
  requestId: Uint8Array;
  sender: Uint8Array;
  senderInfo: { data: Uint8Array; signer: Uint8Array } | undefined;
  method: string;
  argument: Uint8Array;
  expiryNs: bigint;
}

/** A call from a canister. */
export interface RequestMessage {
  sender: Uint8Array;
  callback: bigint;
  method: string;
  argument: Uint8Array;
  cycles: bigint;
  deadlineNs: bigint;
}

/** A message in a canister's inbox. */
export type Message =
  | ({ kind: "ingress" } & IngressMessage)
  | ({ kind: "request" } & RequestMessage)
  | { kind: "response"; callback: bigint; response: Response; refund: bigint }
  | { kind: "task"; task: SystemTask };

/** What the system starts by itself. */
export type SystemTask = "heartbeat" | "globalTimer" | "onLowWasmMemory";

export const messageCodec: Codec<Message> = variant<Message>({
  ingress: record<{ [K in keyof IngressMessage]: IngressMessage[K] }>({
    requestId: bytes,
    sender: bytes,
    senderInfo: option(
      record<{ data: Uint8Array; signer: Uint8Array }>({ data: bytes, signer: bytes }),
    ),
    method: text,
    argument: bytes,
    expiryNs: u64,
  }),
  request: record<{ [K in keyof RequestMessage]: RequestMessage[K] }>({
    sender: bytes,
    callback: u64,
    method: text,
    argument: bytes,
    cycles: u128,
    deadlineNs: u64,
  }),
  response: record<{ callback: bigint; response: Response; refund: bigint }>({
    callback: u64,
    response: responseCodec,
    refund: u128,
  }),
  task: record<{ task: SystemTask }>({
    task: oneOf("heartbeat", "globalTimer", "onLowWasmMemory"),
  }),
});

/** Where a canister's inbox begins and ends; absent when empty. */
export interface InboxRecord {
  first: bigint;
  end: bigint;
}

export const inboxCodec: Codec<InboxRecord> = record<{ first: bigint; end: bigint }>({
  first: u64,
  end: u64,
});

/** What is known of a request, and when it may be forgotten. */
export interface IngressRecord {
  status: IngressStatus;
  sender: Uint8Array;
  /** Effective canister id. */
  canisterId: Uint8Array;
  pruneAtNs: bigint;
}

export const ingressCodec: Codec<IngressRecord> = record<{
  [K in keyof IngressRecord]: IngressRecord[K];
}>({
  status: ingressStatusCodec,
  sender: bytes,
  canisterId: bytes,
  pruneAtNs: u64,
});

/** Work whose result comes from outside the state machine: recorded, agreed, then delivered, expired or cancelled. */
export interface ExternalTask {
  number: bigint;
  origin: CallOrigin;
  /** Cycles to return with the answer. */
  refund: bigint;
  deadlineNs: bigint;
  work: { kind: "rawRand" };
}

export const taskCodec: Codec<ExternalTask> = record<{
  [K in keyof ExternalTask]: ExternalTask[K];
}>({
  number: u64,
  origin: originCodec,
  refund: u128,
  deadlineNs: u64,
  work: variant<{ kind: "rawRand" }>({ rawRand: record({}) }),
});

/** A stored Wasm module and how many canisters run it. */
export interface ModuleRecord {
  references: number;
  bytes: Uint8Array;
}

export const moduleCodec: Codec<ModuleRecord> = record<{ references: number; bytes: Uint8Array }>({
  references: u32,
  bytes,
});

/** A canister's log: a ring bounded by the setting logMemoryLimit. */
export interface LogRecord {
  index: bigint;
  timeNs: bigint;
  content: Uint8Array;
}

export const logCodec: Codec<LogRecord[]> = list(
  record<{ index: bigint; timeNs: bigint; content: Uint8Array }>({
    index: u64,
    timeNs: u64,
    content: bytes,
  }),
  20,
);
