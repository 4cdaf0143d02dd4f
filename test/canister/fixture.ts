// Canisters for tests of the runtime: compiles WAT or Motoko, keeps chunks as the replica would,
// and runs one canister on one or more runtimes.

import { execFileSync } from "node:child_process";
import wabtModule from "wabt";
import { present } from "gyrotron/base";
import {
  type CanisterRuntime,
  type CanisterRuntimeOptions,
  type ChunkReader,
  type Entry,
  type ExecutionContext,
  type ExecutionResult,
  type ImageDelta,
  type ImageSession,
  type ImageState,
  type PreparedModule,
  type Trap,
  type AddressType,
  createCanisterRuntime,
  ic0Signature,
  prepareModule,
} from "gyrotron/canister";

const wabt = await wabtModule();

/** A prepared module of WAT. */
export function moduleFromWat(wat: string): PreparedModule {
  const features = {
    mutable_globals: true,
    sat_float_to_int: true,
    sign_extension: true,
    simd: true,
    multi_value: true,
    tail_call: true,
    bulk_memory: true,
    reference_types: true,
    memory64: true,
    extended_const: true,
  };
  const parsed = wabt.parseWat("test.wat", wat, features);
  return prepareModule(parsed.toBinary({ write_debug_names: true }).buffer);
}

/** WAT imports of system calls, each as `$name`. */
export function importsOf(address: AddressType, ...names: string[]): string {
  return names
    .map((name) => {
      const { params, results } = present(ic0Signature(name, address), name);
      const type = `(param ${params.join(" ")}) (result ${results.join(" ")})`;
      return `(import "ic0" "${name}" (func $${name} ${type}))`;
    })
    .join("\n");
}

/** A WAT function that replies with the top of the stack as one number at address 0. */
export const REPLY_WAT: string = `
  ${importsOf("i32", "msg_reply", "msg_reply_data_append")}
  (func $reply32 (param i32)
    (i32.store (i32.const 0) (local.get 0))
    (call $msg_reply_data_append (i32.const 0) (i32.const 4))
    (call $msg_reply))
  (func $reply64 (param i64)
    (i64.store (i32.const 0) (local.get 0))
    (call $msg_reply_data_append (i32.const 0) (i32.const 8))
    (call $msg_reply))`;

/** Wasm of Motoko actors, as the compiler makes it by default (64-bit, orthogonal persistence). */
export function wasmFromMotoko(...sources: readonly string[]): Uint8Array[] {
  // In a child, because the compiler takes hundreds of MiB and keeps them.
  const child = new URL("./compile-motoko.cjs", import.meta.url).pathname;
  const output = execFileSync(process.execPath, [child], {
    input: JSON.stringify(sources),
    maxBuffer: 1 << 28,
  });
  return (JSON.parse(output.toString()) as string[]).map((hex) => Uint8Array.fromHex(hex));
}

/** An execution context for tests; everything allowed unless overridden. */
export function context(overrides: Partial<ExecutionContext> = {}): ExecutionContext {
  return {
    mode: "update",
    canisterId: CANISTER_ID,
    subnetId: Uint8Array.of(7, 7, 2),
    rootKey: new Uint8Array(133).fill(5),
    caller: Uint8Array.of(4),
    callerInfo: undefined,
    argument: new Uint8Array(0),
    methodName: undefined,
    reject: undefined,
    timeNs: 1_700_000_000_000_000_000n,
    deadlineNs: 0n,
    status: "running",
    version: 3n,
    controllers: [Uint8Array.of(4)],
    environment: [],
    cyclesBalance: 10_000_000_000_000n,
    freezingLimit: 1_000n,
    cyclesAvailable: 0n,
    cyclesRefunded: 0n,
    responded: false,
    globalTimerNs: 0n,
    dataCertificate: undefined,
    instructionLimit: 40_000_000_000n,
    contextInstructions: 0n,
    prices: {
      callBase: 260_000n,
      callPerByte: 1_000n,
      responseReservation: 2_097_152_000n,
      callbackReservation: 40_005_000_000n,
      createCanister: 500_000_000_000n,
      httpRequest: (request, response) => 49_140_000n + 5_200n * request + 10_400n * response,
      signature: (kind, name, algorithm) =>
        algorithm > (kind === "schnorr" ? 1 : 0)
          ? "badAlgorithm"
          : name === "key_1"
            ? 26_153_846_153n
            : undefined,
    },
    wasmMemoryLimitBytes: 0n,
    growableBytes: 1n << 50n,
    queueCapacity: () => 500,
    ...overrides,
  };
}

export const CANISTER_ID: Uint8Array = Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 1, 1, 1);

/** Stored chunks, as the replica keeps them. */
export class ChunkStore implements ChunkReader {
  readonly heap: Map<number, Uint8Array> = new Map();
  readonly stable: Map<number, Uint8Array> = new Map();

  heapChunk(index: number): Uint8Array | undefined {
    return this.heap.get(index);
  }

  heapChunks(): Iterable<readonly [number, Uint8Array]> {
    return [...this.heap].sort(([a], [b]) => a - b);
  }

  stableChunk(index: number): Uint8Array | undefined {
    return this.stable.get(index);
  }

  apply(delta: ImageDelta): void {
    if (delta.heapReset) this.heap.clear();
    if (delta.stableReset) this.stable.clear();
    for (const [target, changes] of [
      [this.heap, delta.heap],
      [this.stable, delta.stable],
    ] as const) {
      for (const [index, bytes] of changes) {
        if (bytes === null) target.delete(index);
        else target.set(index, bytes.slice());
      }
    }
  }
}

/** One canister on one runtime; `freshCopy` gives the same stored state on a new runtime. */
export class TestCanister {
  readonly runtime: CanisterRuntime;
  readonly store: ChunkStore;
  readonly #options: CanisterRuntimeOptions;
  module: PreparedModule | undefined;
  image: ImageState | undefined;
  lastDelta: ImageDelta | undefined;

  constructor(options: CanisterRuntimeOptions = {}, store: ChunkStore = new ChunkStore()) {
    this.#options = options;
    this.runtime = createCanisterRuntime(options);
    this.store = store;
  }

  static install(wat: string, init: Partial<ExecutionContext> = {}): TestCanister {
    const canister = new TestCanister();
    const result = canister.install(moduleFromWat(wat), "fresh", init);
    if (result?.kind === "trapped") throw new TypeError(result.trap.message);
    return canister;
  }

  freshCopy(): TestCanister {
    const copy = new TestCanister(this.#options);
    for (const [index, bytes] of this.store.heap) copy.store.heap.set(index, bytes.slice());
    for (const [index, bytes] of this.store.stable) copy.store.stable.set(index, bytes.slice());
    copy.module = this.module;
    copy.image = this.image;
    return copy;
  }

  open(): ImageSession {
    return this.runtime.open({
      canisterId: CANISTER_ID,
      module: present(this.module),
      image: present(this.image),
      generation: 1n,
      chunks: this.store,
    });
  }

  /** Installs or, in mode postUpgrade, upgrades code with all entry points that the modules have. */
  install(
    module: PreparedModule,
    memory: "fresh" | "keepStable" | "keep",
    init: Partial<ExecutionContext> = {},
  ): ExecutionResult | undefined {
    const session = this.image === undefined ? this.runtime.create(CANISTER_ID, 1n) : this.open();
    const isUpgrade = init.mode === "postUpgrade";
    if (isUpgrade && present(this.module).exports.has("canister_pre_upgrade")) {
      const entry: Entry = { kind: "export", name: "canister_pre_upgrade" };
      const result = session.run(entry, context({ ...init, mode: "preUpgrade" }));
      if (result.kind === "trapped") {
        this.#keep(session.discard());
        return result;
      }
    }
    const trap = session.replaceModule(module, memory);
    if (trap !== undefined) {
      this.#keep(session.discard());
      return { kind: "trapped", instructionsUsed: 0n, logs: [], trap };
    }
    let last: ExecutionResult | undefined;
    const mode = isUpgrade ? "postUpgrade" : "init";
    const name = isUpgrade ? "canister_post_upgrade" : "canister_init";
    const entries: [Entry, ExecutionContext["mode"]][] = [];
    if (module.hasStart) entries.push([{ kind: "start" }, "start"]);
    if (module.exports.has(name)) entries.push([{ kind: "export", name }, mode]);
    for (const [entry, entryMode] of entries) {
      last = session.run(
        entry,
        context({ instructionLimit: 300_000_000_000n, ...init, mode: entryMode }),
      );
      if (last.kind === "trapped") {
        this.#keep(session.discard());
        return last;
      }
    }
    this.module = module;
    this.#apply(session.commit());
    return last;
  }

  /** Runs and keeps the changes, as for an update. */
  run(entry: Entry, overrides: Partial<ExecutionContext> = {}): ExecutionResult {
    const session = this.open();
    const result = session.run(entry, context(overrides));
    this.#apply(session.commit());
    return result;
  }

  update(name: string, overrides: Partial<ExecutionContext> = {}): ExecutionResult {
    return this.run({ kind: "export", name: `canister_update ${name}` }, overrides);
  }

  /** Runs and drops the changes. */
  query(name: string, overrides: Partial<ExecutionContext> = {}): ExecutionResult {
    const session = this.open();
    const entry: Entry = { kind: "export", name: `canister_query ${name}` };
    const result = session.run(entry, context({ mode: "query", ...overrides }));
    session.discard();
    return result;
  }

  callback(tableIndex: bigint, overrides: Partial<ExecutionContext> = {}): ExecutionResult {
    const entry: Entry = { kind: "callback", tableIndex, environment: 42n };
    return this.run(entry, { mode: "replyCallback", ...overrides });
  }

  #apply(delta: ImageDelta): void {
    this.lastDelta = delta;
    this.store.apply(delta);
    this.image = delta.image;
  }

  #keep(image: ImageState | undefined): void {
    this.image = image;
  }
}

/** The reply of an execution that must have replied. */
export function replyOf(result: ExecutionResult): Uint8Array {
  if (result.kind === "trapped") throw new TypeError(result.trap.message);
  const { response } = result.changes;
  if (response?.kind !== "reply") throw new TypeError("no reply");
  return response.bytes;
}

/** The little-endian number in a reply. */
export function replyNumber(result: ExecutionResult): bigint {
  return replyOf(result).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** The trap of an execution that must have trapped. */
export function trapOf(result: ExecutionResult): Trap {
  if (result.kind !== "trapped") throw new TypeError("did not trap");
  return result.trap;
}
