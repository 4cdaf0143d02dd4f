// How each worker of this node makes its replica: with the machine's crypto.

import { GIB } from "gyrotron/base";
import { createCanisterRuntime } from "gyrotron/canister";
import { setCryptoProvider } from "gyrotron/crypto";
import { createReplica, type ModuleCache, type Replica } from "gyrotron/replica";
import { opensslPrimitives } from "./crypto-provider.ts";

/** What idle canisters may hold in the execution thread, and again in all query threads together. */
const IDLE_BYTES_MAX = 4 * GIB;
const IDLE_IMAGES_MAX = 256;

/** A replica for the calling thread: the execution thread's, or one of those that only answer queries. */
export async function createNodeReplica(
  replicated: boolean,
  queryWorkers = 1,
  modules?: ModuleCache,
): Promise<Replica> {
  // Without mcl, which costs a start 0.2 s in each thread: workers meet BLS only in canister signatures,
  // and those of calls have been checked in the main thread.
  setCryptoProvider(opensslPrimitives);
  const runtime = createCanisterRuntime({
    replicated,
    cachedBytesMax: Math.floor(IDLE_BYTES_MAX / queryWorkers),
    cachedImagesMax: Math.ceil(IDLE_IMAGES_MAX / queryWorkers),
  });
  return createReplica({ replicated, runtime, ...(modules && { modules }) });
}
