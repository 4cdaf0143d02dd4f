// What all executions of one runtime share: side memory, page undo, the import objects. Makes instances. Does not know canisters or sessions.

import { assert, HEAP_DIRTY_BYTES_MAX, OS_PAGE_BYTES } from "gyrotron/base";
import { formatPrincipal } from "gyrotron/crypto";
import { Host } from "../system-api/host.ts";
import { unsigned } from "../system-api/execution.ts";
import { createSystemApi } from "../system-api/system-api.ts";
import { type PreparedModule, RUNTIME_MODULE } from "../wasm/index.ts";
import { CanisterError } from "./error.ts";
import type { HeapImage, HeapTracking } from "./heap-image.ts";
import { PageUndo } from "./page-undo.ts";
import { SideMemory } from "./side-memory.ts";
import { raise, trapped } from "./trap.ts";

/** An instance of an instrumented module on one heap. */
export interface CanisterInstance {
  readonly gas: WebAssembly.Global;
  /** Bytes of logical stack left; the host sets it before each entry. */
  readonly stack: WebAssembly.Global;
  /** Logical size that memory.size reads, of the address type. */
  readonly pages: WebAssembly.Global;
  /** Copies the mutable globals to their slots, or back. */
  save(): void;
  load(): void;
  readonly callback:
    ((tableIndex: number | bigint, environment: number | bigint) => void) | undefined;
  /** An entry point, or undefined if the module has none of this name. */
  entry(exportName: string): (() => void) | undefined;
}

/** The shared parts. */
export class Engine implements HeapTracking {
  readonly side: SideMemory = new SideMemory();
  readonly undo: PageUndo = new PageUndo();
  readonly dirtyPagesMax: number = HEAP_DIRTY_BYTES_MAX / OS_PAGE_BYTES;
  readonly host: Host = new Host();
  readonly #ic0: Record<string, WebAssembly.ImportValue>;
  readonly #barrier: Record<string, WebAssembly.ImportValue>;

  constructor() {
    this.#ic0 = createSystemApi(this.host, formatPrincipal);
    this.#barrier = runtimeImports(this.host);
  }

  /** A fresh instance: its globals hold the module's initial values. @throws CanisterError */
  instantiate(prepared: PreparedModule, heap: HeapImage): CanisterInstance {
    assert(heap.wide === (prepared.addressType === "i64"), "heap of the other address type");
    const own = { ...this.#barrier, heap: heap.memory, side: this.side.memory };
    let exports: Record<string, unknown>;
    try {
      exports = new WebAssembly.Instance(prepared.compiled, {
        ic0: this.#ic0,
        [RUNTIME_MODULE]: own,
      }).exports;
    } catch (cause) {
      const what = "V8 could not instantiate an instrumented module";
      throw new CanisterError({ code: "canister/host-failure", what }, { cause });
    }
    return {
      gas: exports["gyrotron:gas"] as WebAssembly.Global,
      stack: exports["gyrotron:stack"] as WebAssembly.Global,
      pages: exports["gyrotron:pages"] as WebAssembly.Global,
      save: exports["gyrotron:save"] as () => void,
      load: exports["gyrotron:load"] as () => void,
      callback: exports["gyrotron:callback"] as CanisterInstance["callback"],
      entry: (name) => exports[name] as (() => void) | undefined,
    };
  }
}

/** Functions that instrumented code calls: gas, write barrier, growth, stack. */
function runtimeImports(host: Host): Record<string, WebAssembly.ImportValue> {
  return {
    refill: (left: bigint) => host.execution.gas.refill(left),
    mark: (first: number, last: number) => host.execution.heap.markStore(first >>> 0, last >>> 0),
    mark_range: (address: number | bigint, length: number | bigint) =>
      host.execution.heap.markRange(unsigned(address), unsigned(length)),
    grow: (delta: number | bigint) => {
      const execution = host.execution;
      const before = execution.growHeap(unsigned(delta));
      return before === undefined ? execution.index(-1) : execution.index(before);
    },
    stack_overflow: () => raise(trapped("stack overflow")),
  };
}
