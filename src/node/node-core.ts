// The main thread of a node: puts consensus, executor, query runner and certifier together, and keeps
// the calls that wait for an answer. Owns no threads, no disk and no clock: those are handed in.

import { assert, EMPTY_BYTES, equalBytes } from "gyrotron/base";
import {
  type AfterBlock,
  type ConsensusEngine,
  createSoloEngine,
  type Submission,
} from "gyrotron/consensus";
import { MANAGEMENT_CANISTER, sha256, signEd25519, signEd25519InBackground } from "gyrotron/crypto";
import {
  type AuthenticatedSender,
  type Block,
  callReplyPaths,
  type ConsoleLine,
  encodeQueryReport,
  type IngressContent,
  LLM_CANISTER_ID,
  type NetworkConfig,
  type QueryResult,
  type QueryUsage,
  querySignaturePayload,
} from "gyrotron/replica";
import type { Executor, QueryRunner } from "./backstage.ts";
import type { Findings, Inquiry } from "./inquiry.ts";
import { Certifier } from "./certifier.ts";
import { type NodeKeys, thresholdSeedOf } from "./keys.ts";
import { type JobAccelerator, JobRunner } from "./jobs/job-runner.ts";
import { type PreviewListener, Previews } from "./jobs/previews.ts";
import type { ReceiptSelector } from "./jobs/receipt-archive.ts";
import { Listeners } from "./listeners.ts";
import {
  CALL_WAIT_MS,
  type CallOutcome,
  type CallRequest,
  type NodeCore,
  type NodeStatus,
  type PathGrant,
  type ProvenReceipt,
  type PublicState,
  type ReadStateOutcome,
  type SignedQueryResult,
} from "./node-contract.ts";
import { NodeError } from "./node-error.ts";
import { requestOutcall } from "./outcalls/http-client.ts";
import { performOutcall } from "./outcalls/perform-outcall.ts";
import { TaskRunner } from "./outcalls/task-runner.ts";
import { QueryStatistics } from "./query-statistics.ts";
import { createSigner, type Signer } from "./threshold/signer.ts";
import { WaitingCalls } from "./waiting-calls.ts";

/** Clock, timers and chance, real or of a test. */
export interface NodeHost {
  /** Wall clock, ns since 1970. */
  nowNs(): bigint;
  /** Calls back once after `delayNs`; returns the way to cancel. */
  schedule(delayNs: bigint, callback: () => void): () => void;
  randomness(): Uint8Array;
}

/** What a node is made of. */
export interface NodeParts {
  keys: NodeKeys;
  host: NodeHost;
  executor: Executor;
  queries: QueryRunner;
  /** Runs GPU jobs; a node without one abstains from all. */
  accelerator?: JobAccelerator;
  /** Runs last when the node closes. */
  release?: () => void;
}

/** A running node. @throws NodeError `node/keys` if the state is of another network */
export function startNodeCore(parts: NodeParts): NodeCore {
  return new Core(parts);
}

/** A read makes a new block if the last one is older. */
const FRESH_NS = 1_000_000_000n;

class Core implements NodeCore {
  readonly config: NetworkConfig;
  readonly #parts: NodeParts;
  readonly #certifier: Certifier;
  readonly #engine: ConsensusEngine;
  readonly #waiting: WaitingCalls;
  /** What is known of the signatures of transactions that consensus has. */
  readonly #authenticated = new WeakMap<Uint8Array, AuthenticatedSender>();
  readonly #consoleListeners = new Listeners<ConsoleLine>();
  readonly #blockListeners = new Listeners<NodeStatus>();
  readonly #failureListeners = new Listeners<unknown>();
  readonly #previews = new Previews();
  readonly #jobs: JobRunner | undefined;
  readonly #tasks: TaskRunner;
  readonly #signer: Signer;
  readonly #queryStatistics = new QueryStatistics();
  #nextBlock = Promise.withResolvers<void>();
  #end: NodeError | undefined;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    const { keys, host, executor, queries } = parts;
    const { config, header, publicEntries, wakeupNs, pendingJobs, pendingTasks } = executor.booted;
    this.config = config;
    this.#certifier = new Certifier(keys.rootSecret, config, header, publicEntries);
    this.#waiting = new WaitingCalls((delayMs, callback) =>
      host.schedule(BigInt(delayMs) * 1_000_000n, callback),
    );
    this.#nextBlock.promise.catch(() => {});
    queries.advance(header.height);
    this.#engine = createSoloEngine({
      ...hostFunctions(host),
      nodeId: parts.keys.nodeId,
      onFailure: (error) => this.#fail(error),
    });
    this.#engine.start({ ...header, moreWork: false, wakeupNs }, (block) => this.#onDecided(block));
    this.#jobs = parts.accelerator && this.#createJobRunner(parts.accelerator);
    this.#jobs?.announceModels();
    this.#jobs?.update(pendingJobs.map((job) => ({ number: job.number, job })));
    this.#signer = createSigner(thresholdSeedOf(keys));
    this.#tasks = this.#createTaskRunner();
    this.#tasks.update(pendingTasks.map((task) => ({ number: task.number, task })));
    // Whatever the state had pending when the process last ended is found out by a block.
    this.#engine.touch();
  }

  get rootKeyDer(): Uint8Array {
    return this.config.rootKeyDer;
  }

  get subnetId(): Uint8Array {
    return this.config.subnetId;
  }

  get nodeId(): Uint8Array {
    return this.#parts.keys.nodeId;
  }

  get publicState(): PublicState {
    return this.#certifier.publicState;
  }

  nowNs(): bigint {
    return this.#parts.host.nowNs();
  }

  status(): NodeStatus {
    const { mempoolCount } = this.#engine.status();
    return { healthy: this.#end === undefined, ...this.#certifier.header, mempoolCount };
  }

  async submitCall(request: CallRequest): Promise<CallOutcome> {
    this.#requireRunning();
    const { content, waitMs = CALL_WAIT_MS } = request;
    const { requestId } = content;
    if (this.#certifier.requestProgress(requestId) === "unknown") {
      const result = await this.#precheck(content);
      if (result?.kind === "rejected") return { kind: "refused", rejection: result };
      // Time has passed: another copy of the call may have been faster.
      if (this.#submit(request) === "full") return { kind: "overloaded" };
    }
    if (this.#certifier.requestProgress(requestId) === "answered") return this.#answer(requestId);
    const hasAnswer = waitMs > 0 && (await this.#waiting.wait(requestId.toHex(), waitMs));
    return hasAnswer ? this.#answer(requestId) : { kind: "pending" };
  }

  async query(content: IngressContent): Promise<SignedQueryResult> {
    await this.#freshen();
    for (;;) {
      this.#requireRunning();
      const { height } = this.#certifier.header;
      const certificate = this.#certifier.dataCertificate(content.canisterId);
      const findings = await this.#inquire({
        kind: "query",
        content,
        height,
        certificate,
      });
      if (findings.kind === "found") {
        this.#count(findings.usage);
        return this.#signed(content, findings);
      }
      await this.#reach(findings);
    }
  }

  async receipts(selector: ReceiptSelector): Promise<ProvenReceipt[]> {
    await this.#freshen();
    for (;;) {
      this.#requireRunning();
      const { height } = this.#certifier.header;
      const certificate = this.#certifier.dataCertificate(LLM_CANISTER_ID);
      const findings = await this.#inquire({ kind: "receipts", selector, height });
      if (findings.kind === "receipts")
        return findings.receipts.map((receipt) => ({ ...receipt, certificate }));
      await this.#reach(findings);
    }
  }

  onPreview(requestId: Uint8Array, listener: PreviewListener): () => void {
    if (this.#certifier.requestProgress(requestId) === "answered") {
      listener(undefined);
      return () => {};
    }
    return this.#previews.watch(requestId, listener);
  }

  async readState<R extends { readonly ok: false }>(
    authorize: (publicState: PublicState) => PathGrant | R,
  ): Promise<ReadStateOutcome<R>> {
    await this.#freshen();
    this.#requireRunning();
    const decision = authorize(this.publicState);
    if (!decision.ok) return { kind: "refused", refusal: decision };
    return { kind: "certificate", certificate: this.#certifier.certificate(decision.paths) };
  }

  onConsole(listener: (line: ConsoleLine) => void): () => void {
    return this.#consoleListeners.add(listener);
  }

  onBlock(listener: (status: NodeStatus) => void): () => void {
    return this.#blockListeners.add(listener);
  }

  onFailure(listener: (error: unknown) => void): () => void {
    return this.#failureListeners.add(listener);
  }

  async close(): Promise<void> {
    if (this.#end?.info.code === "node/stopped") return;
    const hasFailed = this.#end !== undefined;
    await this.#jobs?.close();
    this.#tasks.close();
    await this.#signer.close();
    await this.#engine.stop();
    this.#stop(new NodeError({ code: "node/stopped" }));
    // What has failed may not answer any more, but must still let go of the folder.
    await Promise.allSettled([this.#parts.queries.close(), this.#parts.executor.close()]);
    assert(hasFailed || this.#engine.status().state !== "executing", "no block is in flight");
    this.#parts.release?.();
  }

  #submit({ envelope, content, authenticated }: CallRequest): Submission {
    this.#requireRunning();
    const { requestId } = content;
    if (this.#certifier.requestProgress(requestId) !== "unknown") return "known";
    if (authenticated !== undefined) this.#authenticated.set(envelope, authenticated);
    return this.#engine.submit({ id: requestId.toHex(), bytes: envelope });
  }

  async #precheck(content: IngressContent): Promise<QueryResult | undefined> {
    const { height } = this.#certifier.header;
    const inquiry = { kind: "precheck", content, height } as const;
    const findings = await this.#inquire(inquiry);
    assert(findings.kind === "found", "a pre-check needs no certificate");
    this.#print(findings.console);
    return findings.result;
  }

  /** Executes, certifies what is durable, then answers. */
  async #onDecided(block: Block): Promise<AfterBlock> {
    const authenticated = block.transactions.map((bytes) => this.#authenticated.get(bytes));
    const committed = await this.#parts.executor.execute(block, authenticated);
    const answered = this.#certifier.advance(committed.header, committed.publicWrites);
    this.#parts.queries.advance(committed.header.height);
    for (const requestId of answered) {
      this.#waiting.resolve(requestId.toHex());
      this.#previews.end(requestId);
    }
    this.#jobs?.update(committed.jobChanges);
    this.#tasks.update(committed.taskChanges);
    this.#print(committed.console);
    const { resolve } = this.#nextBlock;
    this.#nextBlock = Promise.withResolvers();
    this.#nextBlock.promise.catch(() => {});
    resolve();
    this.#blockListeners.emit(this.status());
    return { moreWork: committed.moreWork, wakeupNs: committed.wakeupNs };
  }

  /** What cannot be read any more (a damaged disk, say) is a host failure, not a busy node. */
  async #inquire(inquiry: Inquiry): Promise<Findings> {
    try {
      return await this.#parts.queries.inquire(inquiry);
    } catch (error) {
      if (this.#end === undefined) this.#fail(error);
      throw error;
    }
  }

  /** Waits until the certified state is as far as the one that was read. */
  async #reach(findings: Findings): Promise<void> {
    assert(findings.kind === "moved", "the finding fits the inquiry");
    while (this.#certifier.header.height < findings.height) await this.#nextBlock.promise;
  }

  #createJobRunner(accelerator: JobAccelerator): JobRunner {
    const { keys } = this.#parts;
    return new JobRunner({
      accelerator,
      publicKeyDer: keys.nodeKeyDer,
      sign: (message) => signEd25519(keys.nodeSeed, message),
      submit: (transaction) => this.#engine.submit(transaction),
      onPreview: (job, text) => {
        if (job.requestId !== undefined) this.#previews.grow(job.requestId, text);
      },
      onFailure: (job, error) => {
        const text = `this node abstains from job ${job.number}: ${String(error)}`;
        this.#print([{ canisterId: LLM_CANISTER_ID, timeNs: this.nowNs(), text }]);
      },
    });
  }

  /** Reports what queries did, once in a while. */
  #count(usage: readonly QueryUsage[]): void {
    const { keys } = this.#parts;
    const report = this.#queryStatistics.add(usage, this.nowNs());
    if (report === undefined) return;
    const bytes = encodeQueryReport(report, keys.nodeKeyDer, (message) =>
      signEd25519(keys.nodeSeed, message),
    );
    // Without room for it these statistics are lost: they are no more than that.
    this.#engine.submit({ id: sha256(bytes).toHex(), bytes });
  }

  #createTaskRunner(): TaskRunner {
    const { keys } = this.#parts;
    const { nodeKeys, provisional } = this.config;
    return new TaskRunner({
      nodeIndex: nodeKeys.findIndex((key) => equalBytes(key, keys.nodeKeyDer)),
      publicKeyDer: keys.nodeKeyDer,
      sign: (message) => signEd25519(keys.nodeSeed, message),
      signTask: (work) => this.#signer.sign(work),
      request: (work) =>
        performOutcall(work, {
          request: (outcall) => requestOutcall(outcall, { allowLocal: provisional }),
          transform: (...call) => this.#transform(...call),
        }),
      submit: (transaction) => this.#engine.submit(transaction),
      onFailure: (task, error) => {
        const text = `this node abstains from task ${task.number}: ${String(error)}`;
        this.#print([{ canisterId: task.work.canisterId, timeNs: this.nowNs(), text }]);
      },
    });
  }

  /** A canister's transform function on the last certified state. */
  async #transform(
    canisterId: Uint8Array,
    methodName: string,
    argument: Uint8Array,
  ): Promise<QueryResult> {
    this.#requireRunning();
    const content: IngressContent = {
      requestId: EMPTY_BYTES,
      sender: MANAGEMENT_CANISTER,
      canisterId,
      methodName,
      argument,
      ingressExpiryNs: 0n,
      senderInfo: undefined,
      isTransform: true,
    };
    const { height } = this.#certifier.header;
    const findings = await this.#inquire({
      kind: "query",
      content,
      height,
      certificate: undefined,
    });
    assert(findings.kind === "found" && findings.result !== undefined, "a query has a result");
    this.#print(findings.console);
    return findings.result;
  }

  /** Waits for a block if the last one is old. */
  async #freshen(): Promise<void> {
    this.#requireRunning();
    if (this.nowNs() - this.#certifier.header.timeNs <= FRESH_NS) return;
    this.#engine.touch();
    await this.#nextBlock.promise;
  }

  #answer(requestId: Uint8Array): CallOutcome {
    this.#requireRunning();
    return {
      kind: "certified",
      certificate: this.#certifier.certificate(callReplyPaths(requestId)),
    };
  }

  async #signed(
    content: IngressContent,
    findings: Extract<Findings, { kind: "found" }>,
  ): Promise<SignedQueryResult> {
    this.#requireRunning();
    const { result, timeNs } = findings;
    assert(result !== undefined, "a query has a result");
    this.#print(findings.console);
    const payload = querySignaturePayload(result, content.requestId, timeNs);
    const signature = await signEd25519InBackground(this.#parts.keys.nodeSeed, payload);
    return { result, timeNs, nodeId: this.nodeId, signature };
  }

  #print(lines: readonly ConsoleLine[]): void {
    for (const line of lines) this.#consoleListeners.emit(line);
  }

  /** A host failure: nothing may be answered from a state that cannot go on. */
  #fail(cause: unknown): void {
    const what = cause instanceof Error ? cause.message : String(cause);
    this.#stop(new NodeError({ code: "node/host-failure", what }, { cause }));
    this.#failureListeners.emit(cause);
  }

  #stop(end: NodeError): void {
    this.#end ??= end;
    this.#nextBlock.reject(this.#end);
    this.#waiting.giveUp();
  }

  #requireRunning(): void {
    if (this.#end !== undefined) throw this.#end;
  }
}

function hostFunctions(host: NodeHost): NodeHost {
  return {
    nowNs: () => host.nowNs(),
    schedule: (delayNs, callback) => host.schedule(delayNs, callback),
    randomness: () => host.randomness(),
  };
}
