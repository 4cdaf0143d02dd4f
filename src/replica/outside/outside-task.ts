// Work that nodes do outside of the state machine for a canister's call: signatures of threshold keys
// and HTTPS outcalls. The record from its recording to its settling, and the records in state.

import { type Codec, codec, readU64BigEndian } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import type { ThresholdKey } from "../contract.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import * as keys from "../state/keys.ts";
import { rawBytes } from "../state/overlay.ts";
import { type CallOrigin, originCodec } from "../state/records.ts";
import type { ReplicaState } from "../state/replica-state.ts";

const { bool, bytes, fixedBytes, list, oneOf, option, record, text, u32, u64, u128, variant } =
  codec;

/** Tasks that may wait in all. */
const OUTSIDE_TASKS_MAX = 1000;

/** A signature, or an encrypted derived key. */
export interface SigningWork {
  scheme: ThresholdKey["scheme"];
  keyName: string;
  canisterId: Uint8Array;
  path: Uint8Array[];
  message: Uint8Array;
  /** BIP341's Merkle root, or the transport key of vetKD. */
  extra: Uint8Array | undefined;
}

export const HTTP_METHODS = ["get", "head", "post", "put", "delete", "patch"] as const;

/** A header of a request or a response. */
export interface HttpHeader {
  name: string;
  value: string;
}

/** A request to the world. */
export interface OutcallWork {
  canisterId: Uint8Array;
  url: string;
  method: (typeof HTTP_METHODS)[number];
  headers: HttpHeader[];
  body: Uint8Array;
  /** Bytes of headers and body that the response may have. */
  responseBytesMax: number;
  /** A query of the canister that makes responses of different nodes the same. */
  transform: { method: string; context: Uint8Array } | undefined;
  /** The only node that makes the request; undefined: all of them. */
  node: number | undefined;
}

/** What a task is about. */
export type OutsideWork = ({ kind: "sign" } & SigningWork) | ({ kind: "outcall" } & OutcallWork);

/** A task that waits for its result. */
export interface OutsideTask {
  number: bigint;
  origin: CallOrigin;
  /** Cycles to return with the answer. */
  refund: bigint;
  deadlineNs: bigint;
  work: OutsideWork;
  /** What nodes say the result's hash is; a signature needs none, since it can be checked. */
  attestations: { node: number; resultHash: Uint8Array }[];
  agreed: Uint8Array | undefined;
}

const workCodec: Codec<OutsideWork> = variant<OutsideWork>({
  sign: record<{ [K in keyof SigningWork]: SigningWork[K] }>({
    scheme: oneOf("ecdsa", "bip340", "ed25519", "vetkd"),
    keyName: text,
    canisterId: bytes,
    path: list(bytes, 4),
    message: bytes,
    extra: option(bytes),
  }),
  outcall: record<{ [K in keyof OutcallWork]: OutcallWork[K] }>({
    canisterId: bytes,
    url: text,
    method: oneOf(...HTTP_METHODS),
    headers: list(record<{ name: string; value: string }>({ name: text, value: text }), 8),
    body: bytes,
    responseBytesMax: u32,
    transform: option(
      record<{ method: string; context: Uint8Array }>({ method: text, context: bytes }),
    ),
    node: option(u32),
  }),
});

export const outsideTaskCodec: Codec<OutsideTask> = record<{
  [K in keyof OutsideTask]: OutsideTask[K];
}>({
  number: u64,
  origin: originCodec,
  refund: u128,
  deadlineNs: u64,
  work: workCodec,
  attestations: list(
    record<{ node: number; resultHash: Uint8Array }>({ node: u32, resultHash: fixedBytes(32) }),
    36,
  ),
  agreed: option(fixedBytes(32)),
});

/** The number in a task's key. */
export const outsideTaskNumberOfKey = (key: Uint8Array): bigint => readU64BigEndian(key, 1);

/** The outcome of an outcall, as nodes agree on it. */
export type OutcallResult =
  /** Candid of the response, perhaps transformed. */
  | { kind: "response"; bytes: Uint8Array }
  | { kind: "failed"; isTransient: boolean; message: string };

export const outcallResultCodec: Codec<OutcallResult> = variant<OutcallResult>({
  response: record<{ bytes: Uint8Array }>({ bytes }),
  failed: record<{ isTransient: boolean; message: string }>({ isTransient: bool, message: text }),
});

/** Tasks in the replicated state. */
export class OutsideTasks {
  readonly #state: ReplicaState;

  constructor(state: ReplicaState) {
    this.#state = state;
  }

  get(number: bigint): OutsideTask | undefined {
    return this.#state.overlay.get(outsideTaskCodec, keys.outsideTaskKey(number));
  }

  put(task: OutsideTask): void {
    const { overlay } = this.#state;
    overlay.put(outsideTaskCodec, keys.outsideTaskKey(task.number), task);
    overlay.put(rawBytes, keys.outsideDeadlineKey(task.deadlineNs, task.number), new Uint8Array());
  }

  delete(task: OutsideTask): void {
    this.#state.overlay.delete(keys.outsideTaskKey(task.number));
    this.#state.overlay.delete(keys.outsideDeadlineKey(task.deadlineNs, task.number));
  }

  /** Numbers of the tasks whose deadline has passed. */
  due(nowNs: bigint): bigint[] {
    return this.#state.overlay
      .keys(keys.KEY_PREFIX.outsideDeadline, (key) => keys.timeOfKey(key) <= nowNs)
      .map((key) => readU64BigEndian(key, 9));
  }

  count(): number {
    return this.#state.overlay.keys(keys.KEY_PREFIX.outsideDeadline).length;
  }
}

/** Records a task whose price has been paid; its answer comes in a later block, at the latest after `waitNs`. */
export function recordOutsideTask(
  context: BlockContext,
  call: { origin: CallOrigin; cycles: bigint },
  work: OutsideWork,
  waitNs: bigint,
): "later" {
  const system = context.state.system();
  const number = system.nextTaskNumber++;
  context.state.putSystem(system);
  const deadlineNs = context.timeNs + waitNs;
  new OutsideTasks(context.state).put({
    number,
    origin: call.origin,
    refund: call.cycles,
    deadlineNs,
    work,
    attestations: [],
    agreed: undefined,
  });
  return "later";
}

/** Takes the price of a task from the attached cycles and counts it, or says why it cannot be recorded. */
export function payOutsideTask(
  context: BlockContext,
  call: { sender: Uint8Array; cycles: bigint; method: string },
  use: "httpOutcalls" | "signatures",
  price: bigint,
): Reject | undefined {
  if (call.cycles < price) {
    const text = `${call.method} request sent with ${call.cycles} cycles, but ${price} cycles are required.`;
    return reject(ErrorCode.canisterRejected, text);
  }
  if (new OutsideTasks(context.state).count() >= OUTSIDE_TASKS_MAX) {
    const text = `${OUTSIDE_TASKS_MAX} requests are waiting already. Please try again later.`;
    return { ...reject(ErrorCode.queueFull, text), rejectCode: 2 };
  }
  call.cycles -= price;
  const caller = context.state.canister(call.sender);
  if (caller !== undefined) {
    caller.consumed[use] += price;
    context.state.putCanister(caller);
  }
  return undefined;
}
