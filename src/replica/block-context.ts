// What every part of block execution shares: the state, the block's time and randomness, prices, the
// canister runtime. Lives for one block. Owns no behaviour beyond look-ups.

import type { ConsoleLine, NetworkConfig, NewReceipt } from "./contract.ts";
import { assert, present } from "gyrotron/base";
import type { CanisterRuntime, ImageSource, PreparedModule } from "gyrotron/canister";
import type { PriceTable } from "./cycles/prices.ts";
import type { NetworkRulesCache } from "./network-rules.ts";
import type { CanisterRecord } from "./state/records.ts";
import type { ReplicaState } from "./state/replica-state.ts";

/** Prepares uploaded modules, from a cache where it can. @throws WasmError for an invalid module */
export interface ModuleCache {
  prepare(uploaded: Uint8Array): PreparedModule;
  /** The module of a hash; `uploaded` is asked for only if the cache lacks it. */
  byHash(hash: Uint8Array, uploaded: () => Uint8Array): PreparedModule;
  /** Takes a module that another thread has prepared. */
  add(module: PreparedModule): void;
}

/** The parts that outlive a block: caches of this thread. */
export interface ExecutionEngine {
  runtime: CanisterRuntime;
  modules: ModuleCache;
  rules: NetworkRulesCache;
}

/** Everything one block's execution works with. */
export interface BlockContext {
  readonly state: ReplicaState;
  readonly network: NetworkConfig;
  readonly prices: PriceTable;
  readonly engine: ExecutionEngine;
  readonly timeNs: bigint;
  readonly randomness: Uint8Array;
  readonly console: ConsoleLine[];
  /** Receipts of the jobs that this block settled, for the node to keep. */
  readonly receipts: NewReceipt[];
  /** Instructions spent in this block, for the round limit. */
  instructionsUsed: bigint;
}

/** What reading needs of it. */
export type ReadContext = Pick<BlockContext, "state" | "network" | "prices" | "engine" | "timeNs">;

/** The installed module of a canister that has one. */
export function installedModule(
  context: Pick<BlockContext, "state" | "engine">,
  canister: CanisterRecord,
): PreparedModule {
  assert(canister.code !== undefined, "canister has no code");
  const hash = canister.code.moduleHash;
  return context.engine.modules.byHash(
    hash,
    () => present(context.state.module(hash), "installed module is not stored").bytes,
  );
}

/** The canister's memories and code as the runtime opens them. */
export function imageSource(
  context: Pick<BlockContext, "state" | "engine">,
  canister: CanisterRecord,
): ImageSource {
  return {
    canisterId: canister.id,
    module: installedModule(context, canister),
    image: canister.image,
    generation: canister.generation,
    chunks: context.state.chunks(canister.id),
  };
}
