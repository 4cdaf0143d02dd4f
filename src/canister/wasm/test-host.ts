// A small host for instrumented modules, for tests and benchmarks only: it keeps the contract of
// section 3 of the runtime specification without undo, cycles or a system API.
import { assert } from "gyrotron/base";
import { DIRTY_MAP_OFFSET } from "./function-emitter.ts";
import { SIDE_PAGES_MIN } from "./instrument-module.ts";
import type { PreparedModule } from "./prepare-module.ts";

/** How a run of the test host ends early. */
export class HostStop extends Error {
  readonly kind: "gas" | "stack" | "heap";

  constructor(kind: "gas" | "stack" | "heap") {
    super(kind);
    this.kind = kind;
  }
}

export interface TestHostOptions {
  readonly gas?: bigint;
  readonly stackBytes?: number;
  /** Host functions of module `ic0`. */
  readonly ic0?: Record<string, (...args: never[]) => unknown>;
}

const PAGE_BYTES = 4096;
const SLICE = 1_000_000_000n;

/** One instance of a prepared module with its memories. */
export class TestHost {
  readonly heap: WebAssembly.Memory;
  readonly side: WebAssembly.Memory;
  readonly exports: Record<string, unknown>;
  /** Calls of the slow paths. */
  marks = 0;
  rangeMarks = 0;
  readonly #prepared: PreparedModule;
  readonly #gasGiven: bigint;
  #gasLeft: bigint;

  constructor(prepared: PreparedModule, options: TestHostOptions = {}) {
    this.#prepared = prepared;
    const pages = prepared.memoryPagesMin;
    this.heap =
      prepared.addressType === "i64"
        ? new WebAssembly.Memory({ initial: pages, address: "i64" })
        : new WebAssembly.Memory({ initial: Number(pages) });
    this.side = new WebAssembly.Memory({ initial: SIDE_PAGES_MIN });
    const gyrotron: WebAssembly.Imports[string] = {
      heap: this.heap,
      side: this.side,
      refill: (gas: bigint) => this.#refill(gas),
      mark: (first: number, last: number) => this.#mark(first >>> 0, last >>> 0),
      mark_range: (address: number | bigint, length: number | bigint) =>
        this.#markRange(address, length),
      grow: (delta: number | bigint) => this.#grow(delta),
      stack_overflow: () => {
        throw new HostStop("stack");
      },
    };
    this.exports = new WebAssembly.Instance(prepared.compiled, {
      ic0: options.ic0 ?? {},
      gyrotron,
    }).exports;
    for (const { offset, bytes } of prepared.activeData) {
      new Uint8Array(this.heap.buffer).set(bytes, Number(offset));
    }
    this.#gasGiven = options.gas ?? 1_000_000_000_000n;
    this.#gasLeft = this.#gasGiven;
    this.#global("pages").value = prepared.addressType === "i64" ? pages : Number(pages);
    this.#global("stack").value = options.stackBytes ?? 16 * 1024 * 1024;
    this.#global("gas").value = this.#slice();
    if (prepared.hasStart) this.call("gyrotron:start");
  }

  /** Calls an export with the whole stack budget. */
  call(name: string, ...args: unknown[]): unknown {
    const entry = this.exports[name];
    assert(typeof entry === "function", `no function ${name}`);
    return (entry as (...args: unknown[]) => unknown)(...args);
  }

  /** Instructions charged so far. */
  get gasUsed(): bigint {
    return this.#gasGiven - this.#gasLeft - (this.#global("gas").value as bigint);
  }

  /** Page numbers marked dirty. */
  get dirtyPages(): number[] {
    const map = new Uint8Array(this.side.buffer, DIRTY_MAP_OFFSET);
    const pages: number[] = [];
    map.forEach((byte, page) => {
      if (byte !== 0) pages.push(page);
    });
    return pages;
  }

  clean(): void {
    new Uint8Array(this.side.buffer, DIRTY_MAP_OFFSET).fill(0);
  }

  #global(name: string): WebAssembly.Global {
    return this.exports[`gyrotron:${name}`] as WebAssembly.Global;
  }

  #slice(): bigint {
    const slice = this.#gasLeft < SLICE ? this.#gasLeft : SLICE;
    this.#gasLeft -= slice;
    return slice;
  }

  #refill(gas: bigint): bigint {
    let value = gas;
    while (value < 0n) {
      const slice = this.#slice();
      if (slice === 0n) throw new HostStop("gas");
      value += slice;
    }
    return value;
  }

  #mark(first: number, last: number): void {
    this.marks++;
    const pages = Number(this.#global("pages").value) * 16;
    const map = new Uint8Array(this.side.buffer, DIRTY_MAP_OFFSET);
    for (const page of [first, last]) {
      if (page >= pages) throw new HostStop("heap");
      map[page] = 1;
    }
  }

  #markRange(address: number | bigint, length: number | bigint): void {
    this.rangeMarks++;
    const [start, size] =
      typeof address === "bigint"
        ? [Number(BigInt.asUintN(64, address)), Number(BigInt.asUintN(64, BigInt(length)))]
        : [address >>> 0, Number(length) >>> 0];
    assert(size > 0, "empty ranges are not marked");
    if (start + size > Number(this.#global("pages").value) * 65_536) throw new HostStop("heap");
    const map = new Uint8Array(this.side.buffer, DIRTY_MAP_OFFSET);
    map.fill(1, Math.floor(start / PAGE_BYTES), Math.floor((start + size - 1) / PAGE_BYTES) + 1);
  }

  #grow(delta: number | bigint): number | bigint {
    const pages = this.#global("pages");
    const old = pages.value as number | bigint;
    const limit = this.#prepared.memoryPagesMax ?? 65_536n;
    const grown =
      BigInt(old) + BigInt.asUintN(this.#prepared.addressType === "i64" ? 64 : 32, BigInt(delta));
    if (grown > limit || grown > 65_536n) return typeof old === "bigint" ? -1n : -1;
    const physical = BigInt(this.heap.buffer.byteLength / 65_536);
    if (grown > physical) {
      const more = grown - physical;
      this.heap.grow(typeof old === "bigint" ? more : Number(more));
    }
    pages.value = typeof old === "bigint" ? grown : Number(grown);
    return old;
  }
}
