// A query thread: answers queries and pre-checks on its own snapshot of the store and with its own
// replica, which follows the executor's commits by the keys that it announces.

import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { assert, present } from "gyrotron/base";
import { createModuleCache } from "gyrotron/replica";
import { loadReplica } from "./load-replica.ts";
import { openLmdbReader, type StoreReader } from "./lmdb-store.ts";
import { QueryMachine } from "./query-machine.ts";
import {
  type Announcement,
  type QueryRequest,
  serve,
  type WorkerStart,
} from "./worker-protocol.ts";

const start = workerData as WorkerStart;
const announcements = present(start.announcements[0], "a query worker hears announcements");
const modules = createModuleCache();
// Loading takes longer than anything else at a start: both workers do it at the same time.
const replicaLoading = loadReplica(start, false, modules);
// Whoever boots will see the failure.
replicaLoading.catch(() => {});
let reader: StoreReader | undefined;
let machine: QueryMachine | undefined;

serve<QueryRequest>(present(parentPort, "this file is a worker"), async (request) => {
  switch (request.kind) {
    case "boot":
      return boot();
    case "advance":
      return present(machine, "boot comes first").advance(request.height);
    case "inquire":
      return present(machine, "boot comes first").inquire(request.inquiry);
    case "close":
      await reader?.close();
      announcements.close();
      return undefined;
  }
});

async function boot(): Promise<void> {
  assert(machine === undefined, "a worker boots once");
  reader = openLmdbReader(start.statePath);
  machine = new QueryMachine(await replicaLoading, reader, drainAnnouncements);
}

/** Without waiting: what was announced before the snapshot was taken is already in the port. */
function drainAnnouncements(): void {
  for (;;) {
    const received = receiveMessageOnPort(announcements);
    if (received === undefined) return;
    const message = received.message as Announcement;
    if (message.kind === "module") modules.add(message.module);
    else present(machine).announce(message.height, message.keys);
  }
}
