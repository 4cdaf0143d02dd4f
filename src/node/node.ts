// Composition of a real node: data folder, keys, worker threads, clock. `createNode` is the way in for
// HTTP, the CLI and the demo.

import { randomBytes } from "node:crypto";
import { flushCompileCache } from "node:module";
import { availableParallelism } from "node:os";
import { equalBytes } from "gyrotron/base";
import type { Genesis } from "gyrotron/consensus";
import { installNodeCrypto } from "./crypto-provider.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import type { JobAccelerator } from "./jobs/job-runner.ts";
import { configOf, loadNodeKeys, type NodeKeys } from "./keys.ts";
import type { NodeCore, NodeOptions } from "./node-contract.ts";
import { type NodeHost, startNodeCore } from "./node-core.ts";
import { NodeError } from "./node-error.ts";
import { startThreadedBackstage } from "./threaded-backstage.ts";

/** What tests may replace. */
export interface NodeOverrides {
  /** Module whose `createNodeReplica` each worker calls. */
  replicaModule?: URL;
}

/** Starts a network of one on a data folder, or goes on with the one that is there. @throws StoreError NodeError */
export async function createNode(
  options: NodeOptions,
  overrides: NodeOverrides = {},
): Promise<NodeCore> {
  await installNodeCrypto();
  const folder = openDataFolder(options.dataDir);
  try {
    return await startOn(folder, options, overrides);
  } catch (error) {
    folder.release();
    throw error;
  }
}

/** The machine's clock, timers and chance. */
export const systemHost: NodeHost = {
  nowNs: () => BigInt(Date.now()) * 1_000_000n,
  schedule(delayNs, callback) {
    if (delayNs === 0n) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    // Rounded up, so that a timer never fires before it is due.
    const timer = setTimeout(callback, Number((delayNs + 999_999n) / 1_000_000n));
    return () => clearTimeout(timer);
  },
  randomness: () => new Uint8Array(randomBytes(32)),
};

async function startOn(
  folder: DataFolder,
  options: NodeOptions,
  overrides: NodeOverrides,
): Promise<NodeCore> {
  const keys = loadNodeKeys(folder.keysPath, !folder.hasFormat);
  const parts = await startThreadedBackstage({
    statePath: folder.statePath,
    makeGenesis: folder.hasFormat ? undefined : () => genesisOf(keys, options),
    replicaModule: overrides.replicaModule ?? replicaModuleUrl(),
    queryWorkers: options.queryWorkers ?? defaultQueryWorkers(),
  });
  let accelerator: JobAccelerator | undefined;
  try {
    if (!equalBytes(parts.executor.booted.config.rootKeyDer, keys.rootKeyDer)) {
      const reason = "these are the keys of another network than the state's";
      throw new NodeError({ code: "node/keys", path: folder.keysPath, reason });
    }
    accelerator = await options.accelerator;
  } catch (error) {
    await Promise.allSettled([parts.queries.close(), parts.executor.close()]);
    throw error;
  }
  if (!folder.hasFormat) folder.writeFormat();
  flushCompileCache();
  return startNodeCore({
    keys,
    host: systemHost,
    ...parts,
    ...(accelerator && { accelerator }),
    release: () => folder.release(),
  });
}

/** One core is left to execution; more than four threads have hardly ever something to do. */
function defaultQueryWorkers(): number {
  return Math.min(4, Math.max(1, availableParallelism() - 1));
}

function genesisOf(keys: NodeKeys, options: NodeOptions): Genesis {
  return { config: configOf(keys, options), timeNs: systemHost.nowNs() };
}

function replicaModuleUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  return new URL(`./replica-factory${extension}`, import.meta.url);
}
