// One unit of work on one image: executions, replacement of code, and the end, which keeps all of
// it or none. Spec: docs/spec/06-canister-runtime.md section 4.

import { EMPTY_BYTES, WASM_PAGE_BYTES, assert, present, utf8Bytes } from "gyrotron/base";
import type {
  Entry,
  ExecutionContext,
  ExecutionResult,
  ImageDelta,
  ImageSession,
  ImageState,
  Trap,
} from "../contract.ts";
import { Execution } from "../system-api/execution.ts";
import type { PreparedModule } from "../wasm/index.ts";
import type { CanisterInstance, Engine } from "./engine.ts";
import { backtraceOf, engineTrapCause } from "./engine-trap.ts";
import { CanisterError } from "./error.ts";
import { GasMeter } from "./gas-meter.ts";
import { HeapImage } from "./heap-image.ts";
import type { LiveImage, LiveProgram } from "./live-image.ts";
import { withStackTraces } from "./stack-trace.ts";
import {
  TrapSignal,
  type TrapReason,
  contractViolation,
  functionNotFound,
  methodNotFound,
  trapFromReason,
  trapped,
} from "./trap.ts";

/** Logical stack of every execution, in bytes. */
export const STACK_BYTES = 16_777_216;

/** How a session ended, for whoever keeps the cache. */
export type SessionEnd = "kept" | "empty" | "failed";

/** The only implementation of ImageSession. */
export class Session implements ImageSession {
  readonly #engine: Engine;
  readonly #image: LiveImage;
  readonly #onEnd: (end: SessionEnd) => void;
  /** The program when the session opened, with its globals, in case it is replaced. */
  readonly #before: { program: LiveProgram; globals: Uint8Array } | undefined;
  #state: "open" | "trapped" | "ended" = "open";

  constructor(engine: Engine, image: LiveImage, onEnd: (end: SessionEnd) => void) {
    this.#engine = engine;
    this.#image = image;
    this.#onEnd = onEnd;
    const { program } = image;
    this.#before = program === undefined ? undefined : { program, globals: program.globals };
    program?.heap.begin();
  }

  run(entry: Entry, context: ExecutionContext): ExecutionResult {
    assert(this.#state === "open", "the session is over");
    const program = present(this.#image.program, "no code to run");
    return this.#guard(() => this.#run(program, entry, context));
  }

  replaceModule(module: PreparedModule, memory: "fresh" | "keepStable" | "keep"): Trap | undefined {
    assert(this.#state === "open", "the session is over");
    const reason = this.#guard(() => this.#replace(module, memory));
    if (reason === undefined) return undefined;
    this.#undo();
    return trapFromReason(reason, []);
  }

  commit(): ImageDelta {
    assert(this.#state !== "ended", "the session is over");
    const program = present(this.#image.program, "an empty image cannot be committed");
    const { stable } = this.#image;
    const heapReset = this.#before !== undefined && this.#before.program.heap !== program.heap;
    const stableReset = stable.isReset;
    const dirtyPages = program.heap.dirtyCount + stable.dirtyCount;
    const heapChunks = program.heap.commit();
    const stableChunks = stable.commit();
    this.#end("kept");
    const image = this.#image.state();
    return { image, heap: heapChunks, stable: stableChunks, heapReset, stableReset, dirtyPages };
  }

  discard(): ImageState | undefined {
    assert(this.#state !== "ended", "the session is over");
    if (this.#state === "open") this.#undo();
    const isEmpty = this.#image.program === undefined;
    this.#end(isEmpty ? "empty" : "kept");
    return isEmpty ? undefined : this.#image.state();
  }

  /** Runs host code; if it fails for a reason of this machine, the image is no longer usable. */
  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (failure) {
      this.#end("failed");
      throw failure;
    }
  }

  #end(end: SessionEnd): void {
    this.#state = "ended";
    this.#onEnd(end);
  }

  #run(program: LiveProgram, entry: Entry, context: ExecutionContext): ExecutionResult {
    const { heap, module } = program;
    const { stable } = this.#image;
    const instance = this.#prepareInstance(program);
    const dirtyBefore = heap.dirtyCount + stable.dirtyCount;
    const gas = new GasMeter(
      instance.gas,
      context.instructionLimit,
      () => heap.dirtyCount + stable.dirtyCount - dirtyBefore,
    );
    const heapPagesMax =
      module.memoryPagesMax === undefined ? undefined : Number(module.memoryPagesMax);
    const execution = new Execution({
      context,
      heap,
      stable,
      gas,
      heapPagesMax,
      pages: instance.pages,
    });
    const caught = this.#call(instance, entry, execution, program);
    if (caught === undefined) {
      instance.save();
      program.globals = this.#engine.side.readGlobals(module.globals.length);
      const logs = execution.logs.take();
      const instructionsUsed = gas.used();
      return { kind: "finished", instructionsUsed, logs, changes: execution.changes() };
    }
    const { reason, backtrace } = caught;
    execution.logs.append(utf8Bytes(`[TRAP]: ${reason.logText}`));
    const instructionsUsed = gas.used();
    this.#undo();
    const trap = trapFromReason(reason, backtrace);
    return { kind: "trapped", instructionsUsed, logs: execution.logs.take(), trap };
  }

  /** Enters the module; undefined if it returned. @throws CanisterError, AssertionError */
  #call(
    instance: CanisterInstance,
    entry: Entry,
    execution: Execution,
    program: LiveProgram,
  ): { reason: TrapReason; backtrace: string[] } | undefined {
    const enter = entryFunction(instance, entry, program.module);
    if (typeof enter !== "function") return { reason: enter, backtrace: [] };
    this.#engine.host.start(execution);
    try {
      withStackTraces(enter);
      execution.gas.settle();
      return undefined;
    } catch (thrown) {
      return { reason: reasonOf(thrown, entry, execution), backtrace: backtraceOf(thrown) };
    } finally {
      this.#engine.host.finish();
    }
  }

  /** An instance with the current globals, a full stack and the logical size. */
  #prepareInstance(program: LiveProgram): CanisterInstance {
    const { module, heap } = program;
    const instance = program.instance ?? this.#engine.instantiate(module, heap);
    program.instance = module.mutatesInstance ? undefined : instance;
    if (module.globals.length > 0) {
      this.#engine.side.writeGlobals(program.globals);
      instance.load();
    }
    instance.stack.value = STACK_BYTES;
    instance.pages.value = heap.wide ? BigInt(heap.logicalPages) : heap.logicalPages;
    return instance;
  }

  #replace(
    module: PreparedModule,
    memory: "fresh" | "keepStable" | "keep",
  ): TrapReason | undefined {
    const image = this.#image;
    const wide = module.addressType === "i64";
    const pagesMin = Number(module.memoryPagesMin);
    const old = image.program;
    let heap: HeapImage;
    if (memory === "keep") {
      if (old === undefined || old.heap.wide !== wide) {
        const what = "the new module cannot keep a Wasm memory of another address type";
        return contractViolation(what);
      }
      heap = old.heap;
      if (heap.logicalPages < pagesMin) heap.growTo(pagesMin);
    } else {
      old?.heap.rollback();
      heap = new HeapImage(this.#engine, wide, pagesMin, pagesMin);
      heap.begin();
    }
    if (memory === "fresh") image.stable.reset();
    image.program = { module, heap, globals: EMPTY_BYTES, instance: undefined };
    if (memory !== "keep" && !applyActiveData(module, heap)) return trapped("heap out of bounds");
    const instance = this.#engine.instantiate(module, heap);
    this.#engine.side.clearGlobals(module.globals.length);
    instance.save();
    image.program.globals = this.#engine.side.readGlobals(module.globals.length);
    image.program.instance = module.mutatesInstance ? undefined : instance;
    return undefined;
  }

  /** Puts everything back to how the session found it, but for the physical size. */
  #undo(): void {
    const image = this.#image;
    image.program?.heap.rollback();
    image.stable.rollback();
    image.program = this.#before?.program;
    if (this.#before !== undefined) this.#before.program.globals = this.#before.globals;
    this.#state = "trapped";
  }
}

/** Writes the active data segments, in order; false if one does not fit. */
function applyActiveData(module: PreparedModule, heap: HeapImage): boolean {
  for (const { offset, bytes } of module.activeData) {
    const start = Number(offset);
    if (start + bytes.length > heap.logicalPages * WASM_PAGE_BYTES) return false;
    heap.touch(start, bytes.length);
    heap.bytes.set(bytes, start);
  }
  return true;
}

/** What to call, or why there is nothing to call. */
function entryFunction(
  instance: CanisterInstance,
  entry: Entry,
  module: PreparedModule,
): (() => void) | TrapReason {
  switch (entry.kind) {
    case "start":
      return present(instance.entry("gyrotron:start"), "the module has no start function");
    case "export": {
      const found = instance.entry(entry.name);
      if (found !== undefined) return found;
      const match = /^canister_(update|query|composite_query) ([^]*)$/.exec(entry.name);
      assert(match !== null, `the module has no ${entry.name}`);
      return methodNotFound(present(match[1]), present(match[2]));
    }
    case "callback": {
      const { callback } = instance;
      const narrowTable = module.tableIndexType === "i32";
      if (callback === undefined || (narrowTable && entry.tableIndex > 0xffff_ffffn)) {
        return functionNotFound(entry.tableIndex);
      }
      const index = narrowTable ? Number(entry.tableIndex) : entry.tableIndex;
      const wide = module.addressType === "i64";
      const environment = wide ? entry.environment : Number(BigInt.asUintN(32, entry.environment));
      return () => callback(index, environment);
    }
  }
}

/** Why an execution ended. @throws CanisterError or what was thrown, if it is not a trap */
function reasonOf(thrown: unknown, entry: Entry, execution: Execution): TrapReason {
  if (thrown instanceof TrapSignal) return thrown.reason;
  const cause = engineTrapCause(thrown);
  if (cause !== undefined) {
    // The trampoline's own lookup fails before any canister code could spill its counter.
    const isLookup = cause === "signature mismatch" || cause === "table out of bounds";
    if (entry.kind === "callback" && isLookup && execution.gas.isUntouched) {
      return functionNotFound(entry.tableIndex);
    }
    return trapped(cause === "signature mismatch" ? "unknown" : cause);
  }
  if (thrown instanceof RangeError || thrown instanceof WebAssembly.RuntimeError) {
    const what = `V8 ended an execution with ${thrown.name}: ${thrown.message}`;
    throw new CanisterError({ code: "canister/host-failure", what }, { cause: thrown });
  }
  throw thrown;
}
