// The replica: `execute(view, block)` and what else the node asks of the state machine. Everything
// replicated is in the view and the writes; the engine's live memories and modules are a cache.

import { assert, utf8Bytes } from "gyrotron/base";
import { type CanisterRuntime, createCanisterRuntime } from "gyrotron/canister";
import type { StateView, StateWrite } from "gyrotron/store";
import type { BlockContext, ExecutionEngine, ModuleCache } from "./block-context.ts";
import type { Block, ExecutedBlock, NetworkConfig, Replica } from "./contract.ts";
import { accountForBlock, sweepIdleCanisters } from "./cycles/accounting.ts";
import { expireStopCalls } from "./execution/call-contexts.ts";
import { expireCalls } from "./execution/response.ts";
import { runMessages } from "./execution/round.ts";
import { nextHeartbeatNs, queueDueTasks } from "./execution/task.ts";
import { CachedImages } from "./cached-images.ts";
import type { AuthenticatedSender } from "./http-api/index.ts";
import { LLM_CANISTER_ID, LLM_SERVICE_TEXT } from "./jobs/llm-interface.ts";
import { expireJobs, inductNodeMessage } from "./jobs/settle.ts";
import { firstUserCanister } from "./management/lifecycle.ts";
import { settleTasks } from "./messaging/external-tasks.ts";
import { inductIngress, NODE_MESSAGE_TAG } from "./messaging/induct.ts";
import { inductQueryReport, QUERY_REPORT_TAG } from "./outside/query-report.ts";
import { expireOutsideTasks, inductTaskMessage } from "./outside/settle.ts";
import { TASK_MESSAGE_TAG } from "./outside/task-message.ts";
import { createModuleCache } from "./module-cache.ts";
import { NetworkRulesCache } from "./network-rules.ts";
import { countProposedBlock } from "./node-metrics.ts";
import { precheckCall, runQuery } from "./query.ts";
import { KEY_PREFIX } from "./state/keys.ts";
import { ReplicaState } from "./state/replica-state.ts";
import { createSystemCanisters } from "./system-canisters/genesis.ts";

/** What a replica is made of; all of it is optional. */
export interface ReplicaOptions {
  runtime?: CanisterRuntime;
  modules?: ModuleCache;
  /** false for a replica that only answers queries: what its executions do to caches is not replicated. */
  replicated?: boolean;
}

/** A replica for one thread. */
export function createReplica(options: ReplicaOptions = {}): Replica {
  const engine: ExecutionEngine = {
    runtime: options.runtime ?? createCanisterRuntime({ replicated: options.replicated ?? true }),
    modules: options.modules ?? createModuleCache(),
    rules: new NetworkRulesCache(),
  };
  const images = new CachedImages(engine);
  return {
    genesis: genesisWrites,
    execute: (view, block, authenticated) => executeBlock(engine, view, block, authenticated),
    query: (view, timeNs, content, certificate) =>
      runQuery(engine, view, timeNs, content, certificate),
    precheck: (view, timeNs, content) => precheckCall(engine, view, timeNs, content),
    wakeup: (view) => wakeupNs(new ReplicaState(view)),
    refresh: (view, keys) => images.refresh(view, keys),
  };
}

function genesisWrites(config: NetworkConfig, timeNs: bigint): StateWrite[] {
  const state = new ReplicaState(EMPTY_VIEW);
  state.putNetwork(config);
  state.putSystem({
    nextCanisterNumber: firstUserCanister(config),
    nextTaskNumber: 0n,
    nextGeneration: 0n,
    runQueue: [],
    nextJobNumber: 0n,
    pendingJobs: 0,
    heartbeats: [],
    lastHeartbeatNs: 0n,
  });
  const service = {
    name: "candid:service",
    visibility: "public",
    content: utf8Bytes(LLM_SERVICE_TEXT),
  } as const;
  createSystemCanisters(state, config, timeNs);
  state.putPublicInfo(LLM_CANISTER_ID, { controllers: [], createdNs: timeNs, metadata: [service] });
  return state.writes();
}

function executeBlock(
  engine: ExecutionEngine,
  view: StateView,
  block: Block,
  authenticated: readonly (AuthenticatedSender | undefined)[] = [],
): ExecutedBlock {
  const context = createBlockContext(engine, view, block);
  settleTasks(context);
  expireCalls(context);
  expireStopCalls(context);
  expireJobs(context);
  expireOutsideTasks(context);
  sweepIdleCanisters(context);
  context.state.pruneIngress(block.timeNs);
  block.transactions.forEach((transaction, index) => {
    if (transaction[0] === NODE_MESSAGE_TAG) inductNodeMessage(context, transaction);
    else if (transaction[0] === TASK_MESSAGE_TAG) inductTaskMessage(context, transaction);
    else if (transaction[0] === QUERY_REPORT_TAG) inductQueryReport(context, transaction);
    else inductIngress(context, transaction, authenticated[index]);
  });
  queueDueTasks(context);
  const hasMessages = runMessages(context);
  countProposedBlock(context.state, block);
  accountForBlock(context, block.transactions.filter(isEnvelope).length);
  return {
    writes: context.state.writes(),
    console: context.console,
    receipts: context.receipts,
    moreWork: hasMessages || context.state.taskNumbers().length > 0,
    wakeupNs: wakeupNs(context.state),
  };
}

/** Nodes' own messages begin with a byte that no envelope begins with. */
function isEnvelope(transaction: Uint8Array): boolean {
  return (transaction[0] ?? 0) > QUERY_REPORT_TAG;
}

function createBlockContext(engine: ExecutionEngine, view: StateView, block: Block): BlockContext {
  assert(block.randomness.length === 32, "a block has 32 random bytes");
  return {
    state: new ReplicaState(view),
    ...engine.rules.of(view),
    engine,
    timeNs: block.timeNs,
    randomness: block.randomness,
    console: [],
    receipts: [],
    instructionsUsed: 0n,
  };
}

/** When something is due although nobody asks: timers, heartbeats, deadlines of calls. */
function wakeupNs(state: ReplicaState): bigint | undefined {
  const times = [
    state.earliest(KEY_PREFIX.timer),
    state.earliest(KEY_PREFIX.callDeadline),
    state.earliest(KEY_PREFIX.jobDeadline),
    state.earliest(KEY_PREFIX.stopDeadline),
    state.earliest(KEY_PREFIX.sweep),
    state.earliest(KEY_PREFIX.outsideDeadline),
    nextHeartbeatNs({ state }),
  ].filter((time) => time !== undefined);
  return times.length === 0
    ? undefined
    : times.reduce((first, time) => (time < first ? time : first));
}

const EMPTY_VIEW: StateView = {
  get: () => undefined,
  peek: () => undefined,
  range: () => [],
  keys: () => [],
  first: () => undefined,
};
