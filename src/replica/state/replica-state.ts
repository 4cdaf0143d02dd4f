// Typed access to the replicated state during one block: canisters, inboxes, call contexts, modules,
// memories. Keeps the indices that belong to a record (run queue, timers) in step with it.

import { equalBytes, formatHex, present, readU64BigEndian } from "gyrotron/base";
import type { ChunkReader, ImageDelta } from "gyrotron/canister";
import type { StateView, StateWrite } from "gyrotron/store";
import { type CanisterPublicInfo, canisterPublicInfoCodec } from "../certification/index.ts";
import type { NetworkConfig } from "../contract.ts";
import * as keys from "./keys.ts";
import { rawBytes, StateOverlay } from "./overlay.ts";
import * as records from "./records.ts";

/** The state as one block sees and changes it. */
export class ReplicaState {
  /** For rooms that keep records of their own. */
  readonly overlay: StateOverlay;
  /** Hex of the ids in the run queue. */
  #queued: Set<string> | undefined = undefined;

  constructor(view: StateView) {
    this.overlay = new StateOverlay(view);
  }

  writes(): StateWrite[] {
    return this.overlay.writes();
  }

  // --- network and system

  putNetwork(network: NetworkConfig): void {
    this.overlay.put(records.networkCodec, keys.networkKey, network);
  }

  system(): records.SystemRecord {
    return present(
      this.overlay.get(records.systemCodec, keys.systemKey),
      "state has no system record",
    );
  }

  putSystem(system: records.SystemRecord): void {
    this.overlay.put(records.systemCodec, keys.systemKey, system);
  }

  /** A generation that no image has had. */
  takeGeneration(): bigint {
    const system = this.system();
    const generation = ++system.nextGeneration;
    this.putSystem(system);
    return generation;
  }

  /** Whether a canister is among those whose heartbeat runs. */
  setHeartbeat(id: Uint8Array, enabled: boolean): void {
    const system = this.system();
    const others = system.heartbeats.filter((other) => !equalBytes(other, id));
    system.heartbeats = enabled ? [...others, id] : others;
    this.putSystem(system);
  }

  // --- canisters

  canister(id: Uint8Array): records.CanisterRecord | undefined {
    return this.overlay.get(records.canisterCodec, keys.canisterKey(id));
  }

  putCanister(canister: records.CanisterRecord): void {
    this.overlay.put(records.canisterCodec, keys.canisterKey(canister.id), canister);
  }

  deleteCanister(id: Uint8Array): void {
    this.overlay.delete(keys.canisterKey(id));
    this.overlay.delete(keys.publicInfoKey(id));
    this.overlay.delete(keys.logKey(id));
    this.overlay.delete(keys.inboxKey(id));
    this.overlay.delete(keys.historyKey(id));
  }

  /** Remembers an id that may not be given again: late answers to the old canister still carry it. */
  retireId(id: Uint8Array): void {
    this.overlay.put(rawBytes, keys.retiredKey(id), Uint8Array.of());
  }

  isRetired(id: Uint8Array): boolean {
    return this.overlay.get(rawBytes, keys.retiredKey(id)) !== undefined;
  }

  canisterIds(): Uint8Array[] {
    return this.overlay.keys(keys.KEY_PREFIX.canister).map((key) => key.slice(2));
  }

  publicInfo(id: Uint8Array): CanisterPublicInfo | undefined {
    return this.overlay.get(canisterPublicInfoCodec, keys.publicInfoKey(id));
  }

  putPublicInfo(id: Uint8Array, info: CanisterPublicInfo): void {
    this.overlay.put(canisterPublicInfoCodec, keys.publicInfoKey(id), info);
  }

  /** Moves a canister's global timer; 0 clears it. */
  setGlobalTimer(canister: records.CanisterRecord, timeNs: bigint): void {
    if (canister.globalTimerNs === timeNs) return;
    if (canister.globalTimerNs !== 0n)
      this.overlay.delete(keys.timerKey(canister.globalTimerNs, canister.id));
    if (timeNs !== 0n) this.overlay.put(rawBytes, keys.timerKey(timeNs, canister.id), canister.id);
    canister.globalTimerNs = timeNs;
  }

  /** Takes a due timer out of the order of time; its canister keeps it until it runs again. */
  parkGlobalTimer(canister: records.CanisterRecord): void {
    this.overlay.delete(keys.timerKey(canister.globalTimerNs, canister.id));
  }

  /** Moves the time at which the sweep looks at a canister; 0: never. */
  setSweep(canister: records.CanisterRecord, timeNs: bigint): void {
    const { sweepNs, id } = canister;
    if (sweepNs === timeNs) return;
    if (sweepNs !== 0n) this.overlay.delete(keys.sweepKey(sweepNs, id));
    if (timeNs !== 0n) this.overlay.put(rawBytes, keys.sweepKey(timeNs, id), id);
    canister.sweepNs = timeNs;
  }

  /** Canisters that the sweep has to look at. */
  dueSweeps(nowNs: bigint): Uint8Array[] {
    return this.#dueKeys(keys.KEY_PREFIX.sweep, nowNs).map((key) => key.slice(10));
  }

  /** Puts back a timer that may have been parked. */
  resumeGlobalTimer(canister: records.CanisterRecord): void {
    const { globalTimerNs, id } = canister;
    if (globalTimerNs !== 0n) this.overlay.put(rawBytes, keys.timerKey(globalTimerNs, id), id);
  }

  /** Remembers when a stop call of a canister is given up. */
  putStopDeadline(timeNs: bigint, id: Uint8Array): void {
    this.overlay.put(rawBytes, keys.stopDeadlineKey(timeNs, id), id);
  }

  /** Canisters whose stop calls have waited too long; each is named once. */
  takeDueStopDeadlines(nowNs: bigint): Uint8Array[] {
    const due = this.#dueKeys(keys.KEY_PREFIX.stopDeadline, nowNs);
    for (const key of due) this.overlay.delete(key);
    return due.map((key) => key.slice(10));
  }

  /** Global timers due at `nowNs`, earliest first. */
  dueTimers(nowNs: bigint): Uint8Array[] {
    return this.#dueKeys(keys.KEY_PREFIX.timer, nowNs).map((key) => key.slice(10));
  }

  // --- inboxes and the run queue

  pushMessage(id: Uint8Array, message: records.Message): void {
    const inbox = this.overlay.get(records.inboxCodec, keys.inboxKey(id)) ?? {
      first: 0n,
      end: 0n,
    };
    if (inbox.first === inbox.end) this.#enqueueRun(id);
    this.overlay.put(records.messageCodec, keys.messageKey(id, inbox.end), message);
    this.overlay.put(records.inboxCodec, keys.inboxKey(id), {
      first: inbox.first,
      end: inbox.end + 1n,
    });
  }

  /** Takes the oldest message, if any. */
  shiftMessage(id: Uint8Array): records.Message | undefined {
    const inbox = this.overlay.get(records.inboxCodec, keys.inboxKey(id));
    if (inbox === undefined) return undefined;
    const key = keys.messageKey(id, inbox.first);
    const message = present(
      this.overlay.get(records.messageCodec, key),
      "inbox names a missing message",
    );
    this.overlay.delete(key);
    const first = inbox.first + 1n;
    if (first === inbox.end) this.overlay.delete(keys.inboxKey(id));
    else this.overlay.put(records.inboxCodec, keys.inboxKey(id), { first, end: inbox.end });
    return message;
  }

  /** The newest message, if any. */
  lastMessage(id: Uint8Array): records.Message | undefined {
    const inbox = this.overlay.get(records.inboxCodec, keys.inboxKey(id));
    if (inbox === undefined) return undefined;
    return this.overlay.get(records.messageCodec, keys.messageKey(id, inbox.end - 1n));
  }

  inboxCount(id: Uint8Array): number {
    const inbox = this.overlay.get(records.inboxCodec, keys.inboxKey(id));
    return inbox === undefined ? 0 : Number(inbox.end - inbox.first);
  }

  /** The canister whose turn it is, removed from the run queue. */
  nextInRunQueue(): Uint8Array | undefined {
    const system = this.system();
    const id = system.runQueue.shift();
    if (id === undefined) return undefined;
    this.#queuedIds(system).delete(formatHex(id));
    this.putSystem(system);
    return id;
  }

  /** Puts a canister with waiting messages at the end of the run queue. */
  requeue(id: Uint8Array): void {
    if (this.inboxCount(id) > 0) this.#enqueueRun(id);
  }

  #enqueueRun(id: Uint8Array): void {
    const system = this.system();
    const queued = this.#queuedIds(system);
    const name = formatHex(id);
    if (queued.has(name)) return;
    queued.add(name);
    system.runQueue.push(id);
    this.putSystem(system);
  }

  #queuedIds({ runQueue }: records.SystemRecord): Set<string> {
    return (this.#queued ??= new Set(runQueue.map(formatHex)));
  }

  // --- call contexts, callbacks, tasks

  callContext(id: Uint8Array, number: bigint): records.CallContext | undefined {
    return this.overlay.get(records.callContextCodec, keys.callContextKey(id, number));
  }

  putCallContext(id: Uint8Array, number: bigint, context: records.CallContext): void {
    this.overlay.put(records.callContextCodec, keys.callContextKey(id, number), context);
  }

  deleteCallContext(id: Uint8Array, number: bigint): void {
    this.overlay.delete(keys.callContextKey(id, number));
  }

  /** Numbers of the open call contexts, oldest first. */
  callContextNumbers(id: Uint8Array): bigint[] {
    return this.overlay
      .keys(keys.callContextPrefix(id))
      .map((key) => readU64BigEndian(key, key.length - 8));
  }

  callback(id: Uint8Array, number: bigint): records.Callback | undefined {
    return this.overlay.get(records.callbackCodec, keys.callbackKey(id, number));
  }

  putCallback(id: Uint8Array, number: bigint, callback: records.Callback): void {
    this.overlay.put(records.callbackCodec, keys.callbackKey(id, number), callback);
    if (callback.deadlineNs !== 0n) {
      this.overlay.put(rawBytes, keys.callDeadlineKey(callback.deadlineNs, id, number), id);
    }
  }

  deleteCallback(id: Uint8Array, number: bigint, callback: records.Callback): void {
    this.overlay.delete(keys.callbackKey(id, number));
    if (callback.deadlineNs !== 0n)
      this.overlay.delete(keys.callDeadlineKey(callback.deadlineNs, id, number));
  }

  /** Best-effort calls whose deadline has passed. */
  dueCallDeadlines(nowNs: bigint): { canisterId: Uint8Array; callback: bigint }[] {
    return this.#dueKeys(keys.KEY_PREFIX.callDeadline, nowNs).map((key) => ({
      canisterId: key.slice(10, -8),
      callback: readU64BigEndian(key, key.length - 8),
    }));
  }

  task(number: bigint): records.ExternalTask | undefined {
    return this.overlay.get(records.taskCodec, keys.taskKey(number));
  }

  putTask(task: records.ExternalTask): void {
    this.overlay.put(records.taskCodec, keys.taskKey(task.number), task);
  }

  deleteTask(number: bigint): void {
    this.overlay.delete(keys.taskKey(number));
  }

  taskNumbers(): bigint[] {
    return this.overlay.keys(keys.KEY_PREFIX.task).map((key) => readU64BigEndian(key, 1));
  }

  // --- requests

  ingress(requestId: Uint8Array): records.IngressRecord | undefined {
    return this.overlay.get(records.ingressCodec, keys.ingressKey(requestId));
  }

  /** Saves a request's status and when it may be forgotten. */
  putIngress(requestId: Uint8Array, ingress: records.IngressRecord): void {
    const before = this.ingress(requestId);
    if (before !== undefined && before.pruneAtNs !== ingress.pruneAtNs) {
      this.overlay.delete(keys.ingressPruningKey(before.pruneAtNs, requestId));
    }
    this.overlay.put(records.ingressCodec, keys.ingressKey(requestId), ingress);
    this.overlay.put(
      rawBytes,
      keys.ingressPruningKey(ingress.pruneAtNs, requestId),
      Uint8Array.of(),
    );
  }

  /** Forgets requests whose time has come. */
  pruneIngress(nowNs: bigint): void {
    for (const key of this.#dueKeys(keys.KEY_PREFIX.ingressPruning, nowNs)) {
      this.overlay.delete(key);
      this.overlay.delete(keys.ingressKey(key.slice(9)));
    }
  }

  // --- code, memories, logs, stored chunks

  module(hash: Uint8Array): records.ModuleRecord | undefined {
    return this.overlay.get(records.moduleCodec, keys.moduleKey(hash));
  }

  /** Counts one more user of a module's bytes. */
  retainModule(hash: Uint8Array, bytes: Uint8Array): void {
    const references = (this.module(hash)?.references ?? 0) + 1;
    this.overlay.put(records.moduleCodec, keys.moduleKey(hash), { references, bytes });
  }

  releaseModule(hash: Uint8Array): void {
    const module = present(this.module(hash), "released a module that is not stored");
    if (module.references === 1) this.overlay.delete(keys.moduleKey(hash));
    else {
      const references = module.references - 1;
      this.overlay.put(records.moduleCodec, keys.moduleKey(hash), {
        references,
        bytes: module.bytes,
      });
    }
  }

  /** Writes what a session changed in a canister's memories. */
  applyImage(id: Uint8Array, delta: ImageDelta): void {
    if (delta.heapReset) this.#deleteAll(keys.heapPrefix(id));
    if (delta.stableReset) this.#deleteAll(keys.stablePrefix(id));
    for (const [index, bytes] of delta.heap) this.#putChunk(keys.heapChunkKey(id, index), bytes);
    for (const [index, bytes] of delta.stable)
      this.#putChunk(keys.stableChunkKey(id, index), bytes);
  }

  deleteMemories(id: Uint8Array): void {
    this.#deleteAll(keys.heapPrefix(id));
    this.#deleteAll(keys.stablePrefix(id));
  }

  /** Reads of a canister's stored memories as they are now. */
  chunks(id: Uint8Array): ChunkReader {
    const { overlay } = this;
    return {
      heapChunk: (index) => overlay.read(keys.heapChunkKey(id, index)),
      stableChunk: (index) => overlay.read(keys.stableChunkKey(id, index)),
      *heapChunks() {
        for (const key of overlay.keys(keys.heapPrefix(id))) {
          yield [keys.parseHeapChunkKey(key).index, present(overlay.peek(key))];
        }
      },
    };
  }

  log(id: Uint8Array): records.LogRecord[] {
    return this.overlay.get(records.logCodec, keys.logKey(id)) ?? [];
  }

  putLog(id: Uint8Array, log: records.LogRecord[]): void {
    if (log.length === 0) this.overlay.delete(keys.logKey(id));
    else this.overlay.put(records.logCodec, keys.logKey(id), log);
  }

  storedChunk(id: Uint8Array, hash: Uint8Array): Uint8Array | undefined {
    return this.overlay.get(rawBytes, keys.storedChunkKey(id, hash));
  }

  putStoredChunk(id: Uint8Array, hash: Uint8Array, bytes: Uint8Array): void {
    this.overlay.put(rawBytes, keys.storedChunkKey(id, hash), bytes);
  }

  storedChunkHashes(id: Uint8Array): Uint8Array[] {
    return this.overlay.keys(keys.storedChunkPrefix(id)).map((key) => key.slice(-32));
  }

  clearStoredChunks(id: Uint8Array): void {
    this.#deleteAll(keys.storedChunkPrefix(id));
  }

  /** Time of the earliest key under a time-ordered prefix. */
  earliest(prefix: Uint8Array): bigint | undefined {
    const first = this.overlay.firstKey(prefix);
    return first === undefined ? undefined : keys.timeOfKey(first);
  }

  #dueKeys(prefix: Uint8Array, nowNs: bigint): Uint8Array[] {
    return this.overlay.keys(prefix, (key) => keys.timeOfKey(key) <= nowNs);
  }

  #putChunk(key: Uint8Array, bytes: Uint8Array | null): void {
    if (bytes === null) this.overlay.delete(key);
    else this.overlay.put(rawBytes, key, bytes);
  }

  #deleteAll(prefix: Uint8Array): void {
    for (const key of this.overlay.keys(prefix)) this.overlay.delete(key);
  }
}
