// Prepared modules by the hash of their uploaded bytes. Preparing is deterministic and slow, so the
// result is kept; bounded, oldest use first out.

import { formatHex, GIB } from "gyrotron/base";
import { type PreparedModule, prepareModule } from "gyrotron/canister";
import { sha256 } from "gyrotron/crypto";
import type { ModuleCache } from "./block-context.ts";

/** A cache of at most `countMax` prepared modules that together hold at most `bytesMax`, but for the last one. */
export function createModuleCache(
  options: { countMax?: number; bytesMax?: number } = {},
): ModuleCache {
  const { countMax = 64, bytesMax = GIB / 2 } = options;
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
    return remember(name, modules.get(name) ?? prepareModule(uploaded()));
  }

  return { byHash, prepare: (uploaded) => byHash(sha256(uploaded), () => uploaded) };
}

function bytesOf({ code, activeData, customSections }: PreparedModule): number {
  const data = activeData.reduce((sum, segment) => sum + segment.bytes.length, 0);
  return customSections.reduce((sum, { content }) => sum + content.length, code.length + data);
}
