// A node in one thread with a clock, timers and a store of the caller's choice: for tests, simulations
// and short-lived networks. The same core as the real one.

import type { NodeCore } from "./node-contract.ts";
import type { Replica } from "gyrotron/replica";
import { createMemoryStore, type Store } from "gyrotron/store";
import { createInlineBackstage } from "./backstage.ts";
import { configOf, type NetworkChoices, type NodeKeys } from "./keys.ts";
import type { JobAccelerator } from "./jobs/job-runner.ts";
import { type NodeHost, startNodeCore } from "./node-core.ts";

/** What an inline node is made of. */
export interface InlineNodeOptions extends NetworkChoices {
  keys: NodeKeys;
  host: NodeHost;
  /** Called twice: execution and queries have a replica each, the latter not replicated. */
  createReplica: (replicated: boolean) => Replica;
  /** In memory and empty unless given. */
  store?: Store;
  accelerator?: JobAccelerator;
}

/** Starts a node on the store, with a genesis where it is empty. @throws StoreError */
export function createInlineNode(options: InlineNodeOptions): NodeCore {
  const { keys, host, createReplica, accelerator } = options;
  const genesis = { config: configOf(keys, options), timeNs: host.nowNs() };
  const parts = createInlineBackstage(createReplica, options.store ?? createMemoryStore(), genesis);
  return startNodeCore({ keys, host, ...parts, ...(accelerator && { accelerator }) });
}
