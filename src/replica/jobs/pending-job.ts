// The record of a job from its recording to its settling, and the models that jobs may name, in state.

import { type Codec, codec, utf8Bytes, readU64BigEndian, utf8TextLossy } from "gyrotron/base";
import * as keys from "../state/keys.ts";
import { rawBytes } from "../state/overlay.ts";
import { type CallOrigin, originCodec } from "../state/records.ts";
import type { ReplicaState } from "../state/replica-state.ts";
import { type Job, jobCodec, type ModelRecord, modelRecordCodec } from "gyrotron/job";

const { fixedBytes, list, oneOf, option, record, u32, u64, u128 } = codec;

/** Longest name of a model: it is part of a key, and stores refuse long keys. */
export const MODEL_NAME_BYTES_MAX = 100;

/** A job that waits for its result. Amounts in cycles. */
export interface PendingJob {
  number: bigint;
  job: Job;
  origin: Extract<CallOrigin, { kind: "canister" }>;
  /** Which method asked, and so how the answer is encoded. */
  interface: "v0_chat" | "v1_chat";
  modelName: string;
  /** The user's request that led to the job, if any: who may watch it being written. */
  requestId: Uint8Array | undefined;
  quoteMaximum: bigint;
  /** The reservation: from the attached cycles first, then from the caller's own balance. */
  reservedAttached: bigint;
  reservedBalance: bigint;
  /** Attached cycles that were not needed. */
  refund: bigint;
  deadlineNs: bigint;
  attestations: { node: number; resultHash: Uint8Array }[];
  /** Hash that more than two thirds of the nodes attested. */
  agreed: Uint8Array | undefined;
}

export const pendingJobCodec: Codec<PendingJob> = record<{
  [K in keyof PendingJob]: PendingJob[K];
}>({
  number: u64,
  job: jobCodec,
  origin: {
    write: (writer, value) => originCodec.write(writer, value),
    read(reader) {
      const origin = originCodec.read(reader);
      if (origin.kind !== "canister") throw reader.error("a job's origin is a canister");
      return origin;
    },
  },
  interface: oneOf("v0_chat", "v1_chat"),
  modelName: codec.text,
  requestId: option(fixedBytes(32)),
  quoteMaximum: u128,
  reservedAttached: u128,
  reservedBalance: u128,
  refund: u128,
  deadlineNs: u64,
  attestations: list(
    record<{ node: number; resultHash: Uint8Array }>({ node: u32, resultHash: fixedBytes(32) }),
    36,
  ),
  agreed: option(fixedBytes(32)),
});

/** A model with the nodes that proposed it; active once more than two thirds did. */
export interface RegisteredModel {
  model: ModelRecord;
  proposers: number[];
  active: boolean;
}

const registeredModelCodec: Codec<RegisteredModel> = record<{
  [K in keyof RegisteredModel]: RegisteredModel[K];
}>({
  model: modelRecordCodec,
  proposers: list(u32, 4),
  active: codec.bool,
});

/** Every version of a model that was proposed under one name; at most one is active. */
const modelListCodec: Codec<RegisteredModel[]> = list(registeredModelCodec, 60);

/** Jobs and models in the replicated state. */
export class JobState {
  readonly #state: ReplicaState;

  constructor(state: ReplicaState) {
    this.#state = state;
  }

  job(number: bigint): PendingJob | undefined {
    return this.#state.overlay.get(pendingJobCodec, keys.jobKey(number));
  }

  put(job: PendingJob): void {
    this.#state.overlay.put(pendingJobCodec, keys.jobKey(job.number), job);
    this.#state.overlay.put(
      rawBytes,
      keys.jobDeadlineKey(job.deadlineNs, job.number),
      new Uint8Array(),
    );
  }

  delete(job: PendingJob): void {
    this.#state.overlay.delete(keys.jobKey(job.number));
    this.#state.overlay.delete(keys.jobDeadlineKey(job.deadlineNs, job.number));
  }

  /** Numbers of the jobs whose deadline has passed. */
  due(nowNs: bigint): bigint[] {
    const isDue = (key: Uint8Array): boolean => keys.timeOfKey(key) <= nowNs;
    return this.#state.overlay
      .keys(keys.KEY_PREFIX.jobDeadline, isDue)
      .map((key) => readU64BigEndian(key, 9));
  }

  models(name: string): RegisteredModel[] {
    if (utf8Bytes(name).length > MODEL_NAME_BYTES_MAX) return [];
    return this.#state.overlay.get(modelListCodec, keys.modelNameKey(name)) ?? [];
  }

  putModels(name: string, models: RegisteredModel[]): void {
    this.#state.overlay.put(modelListCodec, keys.modelNameKey(name), models);
  }

  activeModel(name: string): ModelRecord | undefined {
    return this.models(name).find(({ active }) => active)?.model;
  }

  activeModelNames(): string[] {
    const names = this.#state.overlay.keys(keys.KEY_PREFIX.model).map((key) => key.slice(2));
    return names.map(utf8TextLossy).filter((name) => this.activeModel(name) !== undefined);
  }
}

/** The number in a job's key. */
export const jobNumberOfKey = (key: Uint8Array): bigint => readU64BigEndian(key, 1);
