// Prepared modules by the hash of their uploaded bytes. Preparing is deterministic and slow, so the
// result is kept; bounded, oldest use first out.

import { formatHex, GIB } from "gyrotron/base";
import { type PreparedModule, prepareModule } from "gyrotron/canister";
import { sha256 } from "gyrotron/crypto";
import type { ModuleCache } from "./block-context.ts";

/** Bounds of a cache, and who hears of what it prepares. */
export interface ModuleCacheOptions {
  readonly countMax?: number;
  readonly bytesMax?: number;
  /** Told of each module that was prepared here. */
  readonly onPrepared?: (module: PreparedModule) => void;
}

/** A cache of at most `countMax` prepared modules that together hold at most `bytesMax`, but for the last one. */
export function createModuleCache(options: ModuleCacheOptions = {}): ModuleCache {
  const { countMax = 256, bytesMax = GIB / 2, onPrepared = () => {} } = options;
  const modules = new Map<string, PreparedModule>();
  let bytes = 0;

  function remember(name: string, module: PreparedModule): PreparedModule {
    if (!modules.delete(name)) bytes += bytesOf(module);
    modules.set(name, module);
    for (const [oldest, unused] of modules) {
      if ((modules.size <= countMax && bytes <= bytesMax) || unused === module) break;
      modules.delete(oldest);
      bytes -= bytesOf(unused);
    }
    return module;
  }

  function byHash(hash: Uint8Array, uploaded: () => Uint8Array): PreparedModule {
    const name = formatHex(hash);
    const known = modules.get(name);
    if (known !== undefined) return remember(name, known);
    const module = prepareModule(uploaded());
    onPrepared(module);
    return remember(name, module);
  }

  return {
    byHash,
    prepare: (uploaded) => byHash(sha256(uploaded), () => uploaded),
    add: (module) => {
      remember(formatHex(module.hash), module);
    },
  };
}

function bytesOf({ compiledBytes, activeData, customSections }: PreparedModule): number {
  const data = activeData.reduce((sum, segment) => sum + segment.bytes.length, 0);
  return customSections.reduce((sum, { content }) => sum + content.length, compiledBytes + data);
}
