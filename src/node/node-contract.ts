// What a running node offers to its doors (HTTP, CLI, tests): calls, queries, certified reads and the
// operator's event streams. Requests arrive decoded and validated; nothing here knows CBOR or HTTP.
// `createNode` (node.ts) runs it on worker threads and disk, `createInlineNode` (inline-node.ts) in
// one thread and memory. Owns no behaviour.

import type {
  AuthenticatedSender,
  CanisterPublicInfo,
  ConsoleLine,
  IngressContent,
  NetworkConfig,
  QueryResult,
} from "gyrotron/replica";
import type { JobAccelerator } from "./jobs/job-runner.ts";
import type { PreviewListener } from "./jobs/previews.ts";
import type { NetworkChoices } from "./keys.ts";
import type { ArchivedReceipt, ReceiptSelector } from "./jobs/receipt-archive.ts";
import type { StateView } from "gyrotron/store";

/** How long `submitCall` waits for the answer unless told otherwise. */
export const CALL_WAIT_MS = 10_000;

/** How to start a node on a data folder; the choices of a network are fixed at its genesis. */
export interface NodeOptions extends NetworkChoices {
  /** Keys, state and blocks live below it; created if absent. */
  dataDir: string;
  /** Threads that answer queries; left out: one less than there are cores, 1 to 4. */
  queryWorkers?: number | undefined;
  /** Runs GPU jobs, perhaps still starting; without one the node abstains from all. Closed with the node. */
  accelerator?: JobAccelerator | Promise<JobAccelerator>;
}

/** What is known of the node right now. Times in ns since 1970. */
export interface NodeStatus {
  /** false once the node has met a host failure; it then answers nothing more. */
  healthy: boolean;
  /** Height and time of the last durable, certified block; 0 is genesis. */
  height: bigint;
  timeNs: bigint;
  stateRoot: Uint8Array;
  /** Calls accepted and not in a block yet. */
  mempoolCount: number;
}

/** A validated call, ready to go into a block. */
export interface CallRequest {
  /** The envelope byte for byte as it came; its signature has been verified. */
  envelope: Uint8Array;
  content: IngressContent;
  /** What the check of the signature proved, so that the execution thread need not check again; left out: it does. */
  authenticated?: AuthenticatedSender | undefined;
  /** How long to wait for the answer: 0 answers `pending` as soon as the call is accepted. */
  waitMs?: number;
}

/** What became of a call. */
export type CallOutcome =
  /** Executed (replied or rejected): certificate with /time and /request_status/<id>. */
  | { kind: "certified"; certificate: Uint8Array }
  /** Accepted, but no answer yet. */
  | { kind: "pending" }
  /** The pre-check said no; the call is in no block. */
  | { kind: "refused"; rejection: Extract<QueryResult, { kind: "rejected" }> }
  /** The mempool is full; nothing was accepted. */
  | { kind: "overloaded" };

/** A query's result, signed by this node. */
export interface SignedQueryResult {
  result: QueryResult;
  /** Time of the state that the query ran on, ns. */
  timeNs: bigint;
  /** Principal of the node that signed. */
  nodeId: Uint8Array;
  /** Ed25519 over the response's hash (64 bytes). */
  signature: Uint8Array;
}

/** Public information about requests and canisters in the last certified state. */
export interface PublicState {
  readonly view: StateView;
  /** Who sent a request and to which canister; undefined if the state does not know it. */
  request(requestId: Uint8Array): { sender: Uint8Array; canisterId: Uint8Array } | undefined;
  canister(canisterId: Uint8Array): CanisterPublicInfo | undefined;
}

/** The paths that a reader may see. */
export interface PathGrant {
  readonly ok: true;
  readonly paths: readonly (readonly Uint8Array[])[];
}

/** A certificate, or why there is none. */
export type ReadStateOutcome<R> =
  { kind: "certificate"; certificate: Uint8Array } | { kind: "refused"; refusal: R };

/** A receipt, its place in the range of receipts, and a certificate of the range's root. */
export interface ProvenReceipt extends ArchivedReceipt {
  certificate: Uint8Array;
}

/** A running node. Every promise may reject with NodeError `node/stopped` or `node/host-failure`. */
export interface NodeCore {
  readonly config: NetworkConfig;
  readonly rootKeyDer: Uint8Array;
  readonly subnetId: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly publicState: PublicState;
  /** The node's clock, ns since 1970: what expiries of requests are checked against. */
  nowNs(): bigint;
  status(): NodeStatus;
  /** Pre-checks, submits and waits. A request id already known is answered from state, never run again. */
  submitCall(request: CallRequest): Promise<CallOutcome>;
  /** Runs a query on the last certified state, at most a second or so old. */
  query(content: IngressContent): Promise<SignedQueryResult>;
  /**
   * Certificate of the granted subtrees plus /time. `authorize` decides on the very state that is
   * certified.
   */
  readState<R extends { readonly ok: false }>(
    authorize: (publicState: PublicState) => PathGrant | R,
  ): Promise<ReadStateOutcome<R>>;
  /** Receipts with what proves them: the certificate shows the root of their range. */
  receipts(selector: ReceiptSelector): Promise<ProvenReceipt[]>;
  /** Watches the answer to a request while it is written: text so far, then undefined. Not certified. */
  onPreview(requestId: Uint8Array, listener: PreviewListener): () => void;
  /** Lines that canisters print and traps, as they happen; returns the way to stop listening. */
  onConsole(listener: (line: ConsoleLine) => void): () => void;
  /** Called after each durable block. */
  onBlock(listener: (status: NodeStatus) => void): () => void;
  /** Called once if the node stops because of a host failure. */
  onFailure(listener: (error: unknown) => void): () => void;
  /** Finishes the block in flight and closes the store; calls that wait are answered `pending`. */
  close(): Promise<void>;
}
