// What the replica is to the node: a pure state machine over a key-value view. Owns the types of
// blocks and results; no behaviour.

import type { StateView, StateWrite } from "gyrotron/store";
import type { AuthenticatedSender } from "./http-api/index.ts";
import type { RangeNode } from "gyrotron/job";
import type { TokenConfig } from "./system-canisters/config.ts";

/** A decided block. Times in ns since 1970. */
export interface Block {
  height: bigint;
  timeNs: bigint;
  /** 32 bytes from the consensus engine. */
  randomness: Uint8Array;
  /** Id of the node that proposed it: a principal. */
  proposer: Uint8Array;
  /** Ingress envelopes byte for byte, or node messages (first byte 0x00). */
  transactions: Uint8Array[];
}

/** Facts fixed at genesis and the same on every node. */
export interface NetworkConfig {
  /** Self-authenticating principal of the root key's DER. */
  subnetId: Uint8Array;
  rootKeyDer: Uint8Array;
  /** Ed25519 keys of the nodes, DER; node id = self-authenticating principal of the key. */
  nodeKeys: Uint8Array[];
  /** Number of the first canister that users create, 2^63 unless given; ids below may be asked for. */
  firstCanister?: bigint | undefined;
  /** Number of nodes that prices are computed for (13 unless configured). */
  priceNodes: number;
  /** Who has tokens and what they are worth; LOCAL_TOKENS unless configured. */
  tokens?: TokenConfig | undefined;
  /** Whether anyone may make cycles with the provisional methods: for development networks. */
  provisional: boolean;
  /** Principals that may manage canisters they do not control. */
  subnetAdmins: Uint8Array[];
  /** Master public keys of the keys that canisters may sign with. */
  thresholdKeys: ThresholdKey[];
}

/** A master key that the network holds, as everyone may know it. */
export interface ThresholdKey {
  scheme: "ecdsa" | "bip340" | "ed25519" | "vetkd";
  name: string;
  /** SEC1 compressed (33 bytes), Ed25519 (32) or BLS12-381 in G2 (96). */
  publicKey: Uint8Array;
}

/** A line for the operator's terminal: never part of state. */
export interface ConsoleLine {
  canisterId: Uint8Array;
  timeNs: bigint;
  text: string;
}

/** A receipt that a block made: its body and the nodes it adds to the mountain range. Kept by the node, not in state. */
export interface NewReceipt {
  job: bigint;
  /** The user's request that led to the job, if any. */
  requestId: Uint8Array | undefined;
  leafIndex: bigint;
  receipt: Uint8Array;
  nodes: RangeNode[];
}

/** Result of executing one block. */
export interface ExecutedBlock {
  /** Ordered; the only change to replicated state. */
  writes: StateWrite[];
  console: ConsoleLine[];
  receipts: NewReceipt[];
  /** Work is left that needs another block at once (queues not empty, tasks deliverable). */
  moreWork: boolean;
  /** Block time at which a timer is due, if any. */
  wakeupNs: bigint | undefined;
}

/** Answer to a query or to the check before a call is accepted. */
export type QueryResult =
  | { kind: "replied"; reply: Uint8Array }
  | { kind: "rejected"; rejectCode: number; message: string; errorCode: string };

/** What one canister did for a query: for statistics. */
export interface QueryUsage {
  canisterId: Uint8Array;
  instructions: bigint;
  requestBytes: number;
  responseBytes: number;
}

/** A decoded and validated query or call. */
export interface IngressContent {
  requestId: Uint8Array;
  sender: Uint8Array;
  canisterId: Uint8Array;
  methodName: string;
  argument: Uint8Array;
  ingressExpiryNs: bigint;
  senderInfo: { info: Uint8Array; signer: Uint8Array } | undefined;
  /** A query that the node itself makes of a canister's transform function; no request can ask for it. */
  isTransform?: true;
}

/** The deterministic state machine. One instance a thread; live memories are its cache. */
export interface Replica {
  /** Writes that make the state before block 1. */
  genesis(config: NetworkConfig, timeNs: bigint): StateWrite[];
  /**
   * Executes a decided block. `authenticated`, aligned with the block's transactions, holds what this
   * node has already verified of their signatures; it changes the time taken, never the result.
   */
  execute(
    view: StateView,
    block: Block,
    authenticated?: readonly (AuthenticatedSender | undefined)[],
  ): ExecutedBlock;
  /** Runs a query on a certified state; nothing changes. `certificate` is the data certificate for the canister, if asked for. */
  query(
    view: StateView,
    timeNs: bigint,
    content: IngressContent,
    certificate?: Uint8Array,
  ): QueryResult & { console: ConsoleLine[]; usage?: QueryUsage[] };
  /** The pre-check of a call (existence, status, cycles, inspect_message); undefined: accept. */
  precheck(view: StateView, timeNs: bigint, content: IngressContent): QueryResult | undefined;
  /** When the next timer, deadline or expiry is due on an idle network. */
  wakeup(view: StateView): bigint | undefined;
  /** Tells a query thread which keys another thread committed, so cached images follow. */
  refresh(view: StateView, keys: readonly Uint8Array[]): void;
}
