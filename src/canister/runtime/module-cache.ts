// Compiled modules by hash, least recently used first to go. V8 compiles lazily, so an entry costs
// little until its functions run.

import { formatHex } from "gyrotron/base";
import type { PreparedModule } from "../wasm/index.ts";
import { CanisterError } from "./error.ts";

/** Compiled modules that stay ready. */
export class ModuleCache {
  readonly #modules: Map<string, WebAssembly.Module> = new Map();
  readonly #modulesMax: number;

  constructor(modulesMax: number) {
    this.#modulesMax = modulesMax;
  }

  /** The compiled form. @throws CanisterError `canister/host-failure` if V8 refuses a checked module */
  compile(prepared: PreparedModule): WebAssembly.Module {
    const key = formatHex(prepared.hash);
    const found = this.#modules.get(key);
    if (found !== undefined) {
      this.#modules.delete(key);
      this.#modules.set(key, found);
      return found;
    }
    const module = compileChecked(prepared.code);
    this.#modules.set(key, module);
    for (const oldest of this.#modules.keys()) {
      if (this.#modules.size <= this.#modulesMax) break;
      this.#modules.delete(oldest);
    }
    return module;
  }
}

function compileChecked(code: Uint8Array): WebAssembly.Module {
  try {
    return new WebAssembly.Module(code);
  } catch (cause) {
    const what = "V8 refused an instrumented module";
    throw new CanisterError({ code: "canister/host-failure", what }, { cause });
  }
}
