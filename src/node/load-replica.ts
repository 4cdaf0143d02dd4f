// How a worker gets its replica: from the module that it was started with.

import { flushCompileCache } from "node:module";
import type { ModuleCache, Replica } from "gyrotron/replica";
import type { WorkerStart } from "./worker-protocol.ts";

type CreateNodeReplica = (
  replicated: boolean,
  queryWorkers: number | undefined,
  modules: ModuleCache,
) => Promise<Replica>;

/** Loads the module and makes a replica for this thread, with its cache of canister modules. */
export async function loadReplica(
  start: WorkerStart,
  replicated: boolean,
  modules: ModuleCache,
): Promise<Replica> {
  const { createNodeReplica } = (await import(start.replicaModule)) as {
    createNodeReplica: CreateNodeReplica;
  };
  const replica = await createNodeReplica(replicated, start.queryWorkers, modules);
  // A node may be killed; what it compiled should serve the next start all the same.
  flushCompileCache();
  return replica;
}
