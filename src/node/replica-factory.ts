// How each worker of this node makes its replica: with the machine's crypto and decompression.

import { gunzipSync } from "node:zlib";
import { createReplica, type Replica } from "gyrotron/replica";
import { installNodeCrypto } from "./crypto-provider.ts";

/** A replica for the calling thread: the execution thread's, or one that only answers queries. */
export async function createNodeReplica(replicated: boolean): Promise<Replica> {
  await installNodeCrypto();
  return createReplica({ gunzip, replicated });
}

/** @throws on anything that is not gzip or expands to more than `bytesMax` */
function gunzip(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const { buffer, byteOffset, length } = gunzipSync(bytes, { maxOutputLength: bytesMax });
  return new Uint8Array(buffer, byteOffset, length);
}
