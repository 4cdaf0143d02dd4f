// The execution thread: the one place that changes the state. Opens the store, boots the replica on
// it, then executes and commits block after block as the main thread sends them.

import { parentPort, workerData } from "node:worker_threads";
import { assert, present } from "gyrotron/base";
import type { Genesis } from "gyrotron/consensus";
import { createModuleCache } from "gyrotron/replica";
import type { Store } from "gyrotron/store";
import { loadReplica } from "./load-replica.ts";
import { openLmdbStore } from "./lmdb-store.ts";
import { bootStateMachine, type StateMachine } from "./state-machine.ts";
import {
  type Announcement,
  type ExecutorRequest,
  serve,
  type WorkerStart,
} from "./worker-protocol.ts";

const start = workerData as WorkerStart;
const modules = createModuleCache({
  onPrepared: (module) => announce({ kind: "module", module }),
});
// Loading takes longer than anything else at a start: both workers do it at the same time.
const replicaLoading = loadReplica(start, true, modules);
// Whoever boots will see the failure.
replicaLoading.catch(() => {});
let store: Store | undefined;
let machine: StateMachine | undefined;

serve<ExecutorRequest>(present(parentPort, "this file is a worker"), async (request) => {
  switch (request.kind) {
    case "boot":
      return boot(request.genesis);
    case "execute":
      return present(machine, "boot comes first").execute(request.block, request.authenticated);
    case "close":
      await store?.close();
      for (const port of start.announcements) port.close();
      return undefined;
  }
});

async function boot(genesis: Genesis | undefined): Promise<StateMachine["booted"]> {
  assert(machine === undefined, "a worker boots once");
  const { statePath } = start;
  store = openLmdbStore(statePath);
  const announceKeys = (height: bigint, keys: Uint8Array[]): void =>
    announce({ kind: "keys", height, keys });
  machine = bootStateMachine(await replicaLoading, store, genesis, announceKeys, statePath);
  return machine.booted;
}

function announce(message: Announcement): void {
  for (const port of start.announcements) port.postMessage(message);
}
