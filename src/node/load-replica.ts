// How a worker gets its replica: from the module that it was started with.

import { flushCompileCache } from "node:module";
import type { Replica } from "gyrotron/replica";
import type { WorkerStart } from "./worker-protocol.ts";

/** Loads the module and makes a replica for this thread. */
export async function loadReplica(start: WorkerStart, replicated: boolean): Promise<Replica> {
  const { createNodeReplica } = (await import(start.replicaModule)) as {
    createNodeReplica: (replicated: boolean, queryWorkers?: number) => Promise<Replica>;
  };
  const replica = await createNodeReplica(replicated, start.queryWorkers);
  // A node may be killed; what it compiled should serve the next start all the same.
  flushCompileCache();
  return replica;
}
