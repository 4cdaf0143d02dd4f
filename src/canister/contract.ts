// The border between the replica and the canister runtime: what an execution may see, what it may
// change, and what comes back. Nothing here is a live object of V8; everything that persists is in
// ImageState and the chunks. Owns no behaviour.

import type { PreparedModule } from "./wasm/index.ts";

/** Which entry point or callback runs; decides which system calls are allowed (spec 06 §7). */
export type ExecutionMode =
  | "start"
  | "init"
  | "preUpgrade"
  | "postUpgrade"
  | "update"
  | "replicatedQuery"
  | "query"
  | "compositeQuery"
  | "replyCallback"
  | "rejectCallback"
  | "compositeReplyCallback"
  | "compositeRejectCallback"
  | "cleanup"
  | "compositeCleanup"
  | "heartbeat"
  | "globalTimer"
  | "onLowWasmMemory"
  | "inspectMessage"
  | "httpTransform";

/** What to call in the module. */
export type Entry =
  /** The removed start function (only modules with `hasStart`). */
  | { kind: "start" }
  /** An export by its full name, such as `canister_update greet` or `canister_init`. */
  | { kind: "export"; name: string }
  /** A table function of type (I) -> (). */
  | { kind: "callback"; tableIndex: bigint; environment: bigint };

/** Everything the system API may see of the world, fixed for one execution. Times in ns, amounts in cycles. */
export interface ExecutionContext {
  mode: ExecutionMode;
  canisterId: Uint8Array;
  subnetId: Uint8Array;
  /** DER of the root key. */
  rootKey: Uint8Array;
  /** Original caller; empty (the management canister) in system tasks. */
  caller: Uint8Array;
  callerInfo: { data: Uint8Array; signer: Uint8Array } | undefined;
  /** Argument of an entry point, or the reply in a reply callback. */
  argument: Uint8Array;
  /** Only in inspectMessage. */
  methodName: string | undefined;
  /** Only in reject callbacks and in cleanup after one. */
  reject: { code: number; message: string } | undefined;
  timeNs: bigint;
  /** 0 when there is none. */
  deadlineNs: bigint;
  status: "running" | "stopping" | "stopped";
  version: bigint;
  controllers: readonly Uint8Array[];
  /** Sorted by name. */
  environment: readonly { name: string; value: string }[];
  /** Main balance after the prepayment of this execution. */
  cyclesBalance: bigint;
  /** Balance below which calls and transfers would freeze the canister (already net of reserved cycles). */
  freezingLimit: bigint;
  /** Cycles that came with the call and are not accepted yet. */
  cyclesAvailable: bigint;
  /** Only in callbacks: what came back of the cycles sent. */
  cyclesRefunded: bigint;
  /** The call context has already been answered (or never had an origin to answer). */
  responded: boolean;
  globalTimerNs: bigint;
  /** Only in query and compositeQuery entry points on a certified state. */
  dataCertificate: Uint8Array | undefined;
  instructionLimit: bigint;
  /** Instructions of the call context's earlier executions, for performance_counter(1). */
  contextInstructions: bigint;
  prices: ExecutionPrices;
  /** Bound on the linear memory in this mode (0: none); exceeding it is IC0539. */
  wasmMemoryLimitBytes: bigint;
  /** Bytes by which this canister's memories may still grow (subnet and allocation limits). */
  growableBytes: bigint;
  /** How many more requests fit into the queue to this callee now (before this execution's own calls). */
  queueCapacity(callee: Uint8Array): number;
}

/** Prices that the system API must know while it runs; computed by the replica's one price table. */
export interface ExecutionPrices {
  /** Base and per-byte price of sending a request, and of its response. */
  callBase: bigint;
  callPerByte: bigint;
  responseReservation: bigint;
  /** Set aside for the callback's execution. */
  callbackReservation: bigint;
  createCanister: bigint;
  httpRequest(requestBytes: bigint, responseBytesMax: bigint): bigint;
  /** Price, or undefined for an unknown key name. */
  signature(
    kind: "ecdsa" | "schnorr" | "vetkd",
    keyName: string,
    algorithm: number,
  ): bigint | "badAlgorithm" | undefined;
}

/** A trap: the IC error code and its text as it stands after `Error from Canister <id>: `. */
export interface Trap {
  /** 502, 503, 504, 507, 513, 521, 522, 524, 539 ... */
  errorCode: number;
  message: string;
  /** Function names, innermost first; node-side diagnostics, never part of state. */
  backtrace: readonly string[];
}

/** A call made by an execution; queued by the replica only if the execution finished. */
export interface OutgoingCall {
  callee: Uint8Array;
  method: string;
  argument: Uint8Array;
  /** Attached cycles, already taken from the balance. */
  cycles: bigint;
  onReply: { tableIndex: bigint; environment: bigint };
  onReject: { tableIndex: bigint; environment: bigint };
  onCleanup: { tableIndex: bigint; environment: bigint } | undefined;
  /** undefined: guaranteed response. */
  timeoutSeconds: number | undefined;
  /** Paid for transmission of the request (gone), and set aside for response and callback (partly refunded). */
  transmissionCharge: bigint;
  responseReserved: bigint;
  callbackReserved: bigint;
}

/** Effects of a finished execution besides memory. */
export interface ExecutionChanges {
  response: { kind: "reply"; bytes: Uint8Array } | { kind: "reject"; message: string } | undefined;
  /** inspectMessage only. */
  accepted: boolean;
  cyclesAccepted: bigint;
  cyclesBurned: bigint;
  calls: OutgoingCall[];
  certifiedData: Uint8Array | undefined;
  globalTimerNs: bigint | undefined;
}

/** What one execution did. A trapped one has already been undone in memory. */
export type ExecutionResult = {
  instructionsUsed: bigint;
  /** debug_print texts in order and, for a trap, the log line of the trap. */
  logs: Uint8Array[];
} & ({ kind: "finished"; changes: ExecutionChanges } | { kind: "trapped"; trap: Trap });

/** What persists of a canister's instance besides its chunks; part of its state record. */
export interface ImageState {
  /** Logical size in 64 KiB pages. */
  heapPages: number;
  /** High-water mark of the logical size: a memory in V8 cannot shrink, so this is replicated. */
  heapPagesPhysical: number;
  stablePages: number;
  /** Mutable globals in slot order, 16 bytes each. */
  globals: Uint8Array;
}

/** Reads of stored chunks (16 KiB, absent = all zero). */
export interface ChunkReader {
  heapChunk(index: number): Uint8Array | undefined;
  /** Every stored heap chunk in ascending order; its bytes stay valid until the next is asked for. */
  heapChunks(): Iterable<readonly [index: number, bytes: Uint8Array]>;
  stableChunk(index: number): Uint8Array | undefined;
}

/** What a committed session changed. Chunk value null: now all zero, to be deleted. */
export interface ImageDelta {
  image: ImageState;
  heap: ReadonlyMap<number, Uint8Array | null>;
  stable: ReadonlyMap<number, Uint8Array | null>;
  /** The heap was replaced: delete every stored heap (or stable) chunk before applying. */
  heapReset: boolean;
  stableReset: boolean;
  dirtyPages: number;
}

/** Which canister image to open; `generation` changes whenever chunks change other than through a session here. */
export interface ImageSource {
  canisterId: Uint8Array;
  module: PreparedModule;
  image: ImageState;
  generation: bigint;
  chunks: ChunkReader;
}

/**
 * One atomic unit of work on one canister's image. Several executions may run in it (pre_upgrade,
 * start, post_upgrade); commit keeps all of them, discard or a trap undoes all of them.
 */
export interface ImageSession {
  run(entry: Entry, context: ExecutionContext): ExecutionResult;
  /** New code. `keep` keeps the linear memory, `keepStable` only stable memory, `fresh` neither. Applies active data unless `keep`. */
  replaceModule(module: PreparedModule, memory: "fresh" | "keepStable" | "keep"): Trap | undefined;
  /** Ends the session. After a trap nothing differs but perhaps `image.heapPagesPhysical`, which must still be stored. */
  commit(): ImageDelta;
  /** Undoes and ends the session. Returns the image, which differs at most in `heapPagesPhysical`; undefined after `create`. */
  discard(): ImageState | undefined;
}

/** Runs canisters on this thread. Holds live memories and instances as a cache of state. */
export interface CanisterRuntime {
  /** Opens the image; at most one session is open at a time. */
  open(source: ImageSource): ImageSession;
  /** A session on an empty image, for the first installation. */
  create(canisterId: Uint8Array, generation: bigint): ImageSession;
  /**
   * Applies chunks that another thread committed, so a cached image need not be reloaded. Not after
   * a new module or a `heapReset`: evict then. Stable chunks are read again when needed.
   */
  refresh(
    canisterId: Uint8Array,
    image: ImageState,
    generation: bigint,
    heapChunks: readonly number[],
    chunks: ChunkReader,
  ): void;
  /** Forgets a cached image. */
  evict(canisterId: Uint8Array): void;
  /** Bytes of linear memory, and of stable memory's chunks, held by cached images. */
  readonly cachedBytes: number;
}

/** The prepared module of a hash, from cache or prepared anew from the stored bytes. */
export interface ModuleSource {
  module(hash: Uint8Array): PreparedModule;
}
