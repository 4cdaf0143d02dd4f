// Installing, upgrading and uninstalling code. One installation is one atomic unit: hooks of old and
// new code, memories and records change together or not at all; only the instructions stay charged.

import { INSTALL_INSTRUCTIONS_MAX, present, WASM_PAGE_BYTES } from "gyrotron/base";
import type { IdlPrincipal } from "gyrotron/candid";
import { type ImageSession, type PreparedModule, WasmError } from "gyrotron/canister";
import { formatPrincipal } from "gyrotron/crypto";
import { type BlockContext, imageSource, installedModule } from "../block-context.ts";
import { respond, systemCallContext } from "../execution/call-contexts.ts";
import { charge, missingFor, refundCharge } from "../cycles/balance.ts";
import {
  applyChanges,
  discardImage,
  NO_ARGUMENT,
  type RunRequest,
  runCode,
  setCertifiedData,
} from "../execution/run.ts";
import { keptLog } from "../execution/logs.ts";
import { updateLowMemoryHook } from "../execution/low-memory.ts";
import {
  canisterReject,
  ErrorCode,
  executionReject,
  outOfCycles,
  type Reject,
  reject,
  trapReject,
  wasmModuleNotFound,
} from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { DIDL_EMPTY } from "./candid-constants.ts";
import {
  findControlled,
  findManaged,
  isReject,
  type ManagementCall,
  type MethodResult,
} from "./call.ts";
import { recordChange } from "./history.ts";

/** Instructions charged for each Wasm instruction that is compiled. */
const COMPILE_INSTRUCTIONS = 6_000n;
/** What a byte of a module counts towards the instructions of a round, valid or not. */
const ROUND_INSTRUCTIONS_PER_BYTE = 50n;
const EOP_SECTION = "enhanced-orthogonal-persistence";

/** The mode as Candid decodes it. */
export type GivenMode =
  { install: null } | { reinstall: null } | { upgrade: [] | [UpgradeOptions] };

interface UpgradeOptions {
  skip_pre_upgrade: [] | [boolean];
  wasm_memory_persistence: [] | [{ keep: null } | { replace: null }];
}

/** install_code. */
export function installCode(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    mode: GivenMode;
    canister_id: IdlPrincipal;
    wasm_module: Uint8Array;
    arg: Uint8Array;
  },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  return installModule(context, call, canister, argument.mode, argument.wasm_module, argument.arg);
}

/** Installs uploaded module bytes on a canister whose controller asked for it. */
export function installModule(
  context: BlockContext,
  call: ManagementCall,
  canister: CanisterRecord,
  mode: GivenMode,
  uploaded: Uint8Array,
  argument: Uint8Array,
): MethodResult {
  countModuleBytes(context, uploaded.length);
  const module = prepareUploaded(context, canister, uploaded);
  if ("kind" in module) return module;
  const refused = checkMode(context, canister, mode, module);
  if (refused !== undefined) return refused;

  const prepaid = context.prices.execution(INSTALL_INSTRUCTIONS_MAX, module.addressType === "i64");
  const missing = missingFor(canister, prepaid, context.prices);
  if (missing > 0n) return outOfCycles(canister.id, missing);
  charge(canister, "instructions", prepaid);

  const installation = new Installation(context, call.sender, canister, module, argument);
  const failure = installation.run(mode);
  const price = context.prices.execution(
    installation.instructionsUsed,
    module.addressType === "i64",
  );
  refundCharge(canister, "instructions", price < prepaid ? prepaid - price : 0n);
  context.instructionsUsed += installation.instructionsUsed;
  if (failure === undefined) {
    recordCode(context, canister, module, uploaded);
    recordChange(context, canister, call, {
      kind: "codeDeployment",
      mode: "upgrade" in mode ? "upgrade" : "install" in mode ? "install" : "reinstall",
      moduleHash: module.hash,
    });
    updateLowMemoryHook(context, canister);
  }
  context.state.putCanister(canister);
  return failure ?? { kind: "reply", bytes: DIDL_EMPTY };
}

/** Counts the work on a module's bytes that nobody has paid for yet, so that a block of it ends. */
export function countModuleBytes(context: BlockContext, bytes: number): void {
  context.instructionsUsed += BigInt(bytes) * ROUND_INSTRUCTIONS_PER_BYTE;
}

/** uninstall_code: rejects what is open, drops code and state, keeps cycles and controllers. */
export function uninstallCode(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findManaged(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const hadCode = canister.code !== undefined;
  dropCode(context, canister);
  if (hadCode) recordChange(context, canister, call, { kind: "codeUninstall" });
  context.state.putCanister(canister);
  return { kind: "reply", bytes: DIDL_EMPTY };
}

/** Drops a canister's code and memories; every unanswered call is rejected. */
export function dropCode(context: BlockContext, canister: CanisterRecord): void {
  for (const number of context.state.callContextNumbers(canister.id)) {
    const callContext = present(context.state.callContext(canister.id, number));
    if (!callContext.responded)
      respond(context, callContext, canisterReject("Canister has been uninstalled."));
    callContext.deleted = true;
    context.state.putCallContext(canister.id, number, callContext);
  }
  context.engine.runtime.evict(canister.id);
  context.state.deleteMemories(canister.id);
  context.state.clearStoredChunks(canister.id);
  context.state.putLog(canister.id, []);
  context.state.setGlobalTimer(canister, 0n);
  context.state.setHeartbeat(canister.id, false);
  if (canister.code !== undefined) context.state.releaseModule(canister.code.moduleHash);
  canister.code = undefined;
  canister.image = { heapPages: 0, heapPagesPhysical: 0, stablePages: 0, globals: NO_ARGUMENT };
  canister.installedNs = undefined;
  canister.lowMemoryHook = "notSatisfied";
  canister.storedChunks = 0;
  canister.version++;
  const { controllers, createdNs } = present(context.state.publicInfo(canister.id));
  context.state.putPublicInfo(canister.id, { controllers, createdNs, metadata: [] });
}

/** One installation while it runs. */
class Installation {
  readonly #context: BlockContext;
  readonly #sender: Uint8Array;
  readonly #canister: CanisterRecord;
  readonly #module: PreparedModule;
  readonly #argument: Uint8Array;
  instructionsUsed: bigint;

  constructor(
    context: BlockContext,
    sender: Uint8Array,
    canister: CanisterRecord,
    module: PreparedModule,
    argument: Uint8Array,
  ) {
    this.#context = context;
    this.#sender = sender;
    this.#canister = canister;
    this.#module = module;
    this.#argument = argument;
    this.instructionsUsed = COMPILE_INSTRUCTIONS * BigInt(module.instructionCount);
  }

  /** Runs all steps; on failure nothing but the logs has changed. */
  run(mode: GivenMode): Reject | undefined {
    const canister = this.#canister;
    // What the hooks may change is kept aside, since the steps see each other's effects.
    const consumed = { ...canister.consumed };
    const before = {
      cycles: canister.cycles,
      timer: canister.globalTimerNs,
      certifiedData: this.#certifiedData(),
    };
    const isUpgrade = "upgrade" in mode;
    const options = isUpgrade ? mode.upgrade[0] : undefined;
    const keepsHeap = options !== undefined && "keep" in (options.wasm_memory_persistence[0] ?? {});
    const generation = keepsHeap ? canister.generation : this.#context.state.takeGeneration();
    const { runtime } = this.#context.engine;
    const session = isUpgrade
      ? runtime.open(imageSource(this.#context, canister))
      : runtime.create(canister.id, generation);

    const log = this.#context.state.log(canister.id);
    if (!isUpgrade) {
      setCertifiedData(this.#context, canister.id, undefined);
      this.#context.state.putLog(canister.id, []);
    }
    const failure = this.#steps(
      session,
      isUpgrade,
      keepsHeap,
      options?.skip_pre_upgrade[0] ?? false,
    );
    if (failure !== undefined) {
      discardImage(canister, session);
      canister.cycles = before.cycles;
      canister.consumed = consumed;
      this.#context.state.setGlobalTimer(canister, before.timer);
      if (!isUpgrade) {
        const added = this.#context.state.log(canister.id);
        this.#context.state.putLog(canister.id, keptLog(canister, [...log, ...added]));
      }
      setCertifiedData(this.#context, canister.id, before.certifiedData);
      return failure;
    }
    const delta = session.commit();
    canister.image = delta.image;
    // A session on an empty image does not know of memories to delete.
    if (!isUpgrade) this.#context.state.deleteMemories(canister.id);
    this.#context.state.applyImage(canister.id, delta);
    if (canister.generation !== generation) {
      canister.generation = generation;
      // The live image was opened under the old generation.
      if (isUpgrade) runtime.evict(canister.id);
    }
    return undefined;
  }

  #steps(
    session: ImageSession,
    isUpgrade: boolean,
    keepsHeap: boolean,
    skipsPreUpgrade: boolean,
  ): Reject | undefined {
    if (isUpgrade && !skipsPreUpgrade) {
      const old = installedModule(this.#context, this.#canister);
      const failure = this.#hook(session, old, "canister_pre_upgrade", "preUpgrade", NO_ARGUMENT);
      if (failure !== undefined) return failure;
    }
    this.#context.state.setGlobalTimer(this.#canister, 0n);
    const memory = isUpgrade ? (keepsHeap ? "keep" : "keepStable") : "fresh";
    const trap = session.replaceModule(this.#module, memory);
    if (trap !== undefined) return trapReject(this.#canister.id, trap);
    if (this.#module.hasStart) {
      const failure = this.#run(session, { kind: "start" }, "start", NO_ARGUMENT);
      if (failure !== undefined) return failure;
    }
    return isUpgrade
      ? this.#hook(session, this.#module, "canister_post_upgrade", "postUpgrade", this.#argument)
      : this.#hook(session, this.#module, "canister_init", "init", this.#argument);
  }

  #hook(
    session: ImageSession,
    module: PreparedModule,
    name: string,
    mode: RunRequest["mode"],
    argument: Uint8Array,
  ): Reject | undefined {
    if (!module.exports.has(name)) return undefined;
    return this.#run(session, { kind: "export", name }, mode, argument);
  }

  #run(
    session: ImageSession,
    entry: RunRequest["entry"],
    mode: RunRequest["mode"],
    argument: Uint8Array,
  ): Reject | undefined {
    const left = INSTALL_INSTRUCTIONS_MAX - this.instructionsUsed;
    const request: RunRequest = {
      entry,
      mode,
      argument,
      instructionLimit: left > 0n ? left : 0n,
      callContext: { ...systemCallContext(), caller: this.#sender },
      contextNumber: 0n,
    };
    const { result } = runCode(this.#context, this.#canister, request, session);
    this.instructionsUsed += result.instructionsUsed;
    if (result.kind === "trapped") return trapReject(this.#canister.id, result.trap);
    applyChanges(this.#context, this.#canister, request, result);
    return undefined;
  }

  #certifiedData(): Uint8Array | undefined {
    return this.#context.state.publicInfo(this.#canister.id)?.certifiedData;
  }
}

function prepareUploaded(
  context: BlockContext,
  canister: CanisterRecord,
  uploaded: Uint8Array,
): PreparedModule | Reject {
  try {
    return context.engine.modules.prepare(uploaded);
  } catch (error) {
    if (!(error instanceof WasmError)) throw error;
    return executionReject(
      canister.id,
      ErrorCode.invalidWasm,
      `Canister's Wasm module is not valid: ${error.message}`,
    );
  }
}

function checkMode(
  context: BlockContext,
  canister: CanisterRecord,
  mode: GivenMode,
  module: PreparedModule,
): Reject | undefined {
  const memoryBytes = module.memoryPagesMin * BigInt(WASM_PAGE_BYTES);
  const { wasmMemoryLimit } = canister.settings;
  if (wasmMemoryLimit !== 0n && memoryBytes > wasmMemoryLimit) {
    const text =
      `Canister exceeded its current Wasm memory limit of ${wasmMemoryLimit} bytes. ` +
      `The peak Wasm memory usage was ${memoryBytes} bytes.`;
    return executionReject(canister.id, ErrorCode.wasmMemoryLimit, text);
  }
  if ("install" in mode && canister.code !== undefined) {
    const name = formatPrincipal(canister.id);
    const text = `Canister ${name} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead.`;
    return reject(ErrorCode.nonEmpty, text);
  }
  if (!("upgrade" in mode)) return undefined;
  if (canister.code === undefined) return wasmModuleNotFound(canister.id);
  const persistence = mode.upgrade[0]?.wasm_memory_persistence[0];
  if (persistence === undefined && canister.code.keepsMainMemory) {
    const text =
      "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option.";
    return executionReject(canister.id, ErrorCode.contractViolation, text);
  }
  if (persistence !== undefined && "keep" in persistence && !keepsMainMemory(module)) {
    const text =
      "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new canister module supports enhanced orthogonal persistence.";
    return executionReject(canister.id, ErrorCode.contractViolation, text);
  }
  if (
    persistence !== undefined &&
    "keep" in persistence &&
    installedModule(context, canister).addressType !== module.addressType
  ) {
    const text =
      "Invalid upgrade option: The new module's memory has another address type than the memory to keep.";
    return executionReject(canister.id, ErrorCode.contractViolation, text);
  }
  return undefined;
}

function recordCode(
  context: BlockContext,
  canister: CanisterRecord,
  module: PreparedModule,
  uploaded: Uint8Array,
): void {
  canister.installedNs = context.timeNs;
  canister.version++;
  adoptModule(context, canister, module, uploaded);
}

/** Makes a module the canister's code, as far as records show it. The caller saves the record. */
export function adoptModule(
  context: BlockContext,
  canister: CanisterRecord,
  module: PreparedModule,
  uploaded: Uint8Array,
): void {
  const previous = canister.code?.moduleHash;
  context.state.retainModule(module.hash, uploaded);
  if (previous !== undefined) context.state.releaseModule(previous);
  canister.code = {
    moduleHash: module.hash,
    moduleBytes: uploaded.length,
    customSectionsBytes: module.customSections.reduce(
      (sum, { name, content }) => sum + name.length + content.length,
      0,
    ),
    keepsMainMemory: keepsMainMemory(module),
    hasGlobalTimer: module.exports.has("canister_global_timer"),
    hasLowMemoryHook: module.exports.has("canister_on_low_wasm_memory"),
  };
  context.state.setHeartbeat(canister.id, module.exports.has("canister_heartbeat"));
  const info = present(context.state.publicInfo(canister.id));
  context.state.putPublicInfo(canister.id, {
    ...info,
    moduleHash: module.hash,
    installedNs: canister.installedNs,
    metadata: [...module.customSections],
  });
}

function keepsMainMemory(module: PreparedModule): boolean {
  return module.customSections.some(
    ({ name, visibility }) => name === EOP_SECTION && visibility === "private",
  );
}
