// How each worker of this node makes its replica: with the machine's crypto.

import { setCryptoProvider } from "gyrotron/crypto";
import { createReplica, type Replica } from "gyrotron/replica";
import { opensslPrimitives } from "./crypto-provider.ts";

/** A replica for the calling thread: the execution thread's, or one that only answers queries. */
export async function createNodeReplica(replicated: boolean): Promise<Replica> {
  // Without mcl, which costs a start 0.2 s in each thread: workers meet BLS only in canister signatures,
  // and those of calls have been checked in the main thread.
  setCryptoProvider(opensslPrimitives);
  return createReplica({ replicated });
}
