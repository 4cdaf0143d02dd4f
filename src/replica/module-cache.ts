// Prepared modules by the hash of their uploaded bytes. Preparing is deterministic and slow, so the
// result is kept; bounded, oldest use first out.

import { formatHex } from "gyrotron/base";
import { type PreparedModule, prepareModule } from "gyrotron/canister";
import { sha256 } from "gyrotron/crypto";
import type { ModuleCache } from "./block-context.ts";

/** Expands gzip; injected because the portable core has no zlib. @throws any error for bad input */
export type Gunzip = (bytes: Uint8Array, bytesMax: number) => Uint8Array;

/** A cache of at most `countMax` prepared modules. */
export function createModuleCache(
  options: { gunzip?: Gunzip; countMax?: number } = {},
): ModuleCache {
  const { gunzip, countMax = 64 } = options;
  const modules = new Map<string, PreparedModule>();

  function remember(name: string, module: PreparedModule): PreparedModule {
    modules.delete(name);
    modules.set(name, module);
    for (const oldest of modules.keys()) {
      if (modules.size <= countMax) break;
      modules.delete(oldest);
    }
    return module;
  }

  function byHash(hash: Uint8Array, uploaded: () => Uint8Array): PreparedModule {
    const name = formatHex(hash);
    return remember(
      name,
      modules.get(name) ?? prepareModule(uploaded(), gunzip === undefined ? {} : { gunzip }),
    );
  }

  return { byHash, prepare: (uploaded) => byHash(sha256(uploaded), () => uploaded) };
}
