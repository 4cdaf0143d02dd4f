// Canister settings: defaults, checking and applying what a caller gives, and showing them.

import {
  CANISTER_LOG_BYTES_DEFAULT,
  CONTROLLERS_MAX,
  ENVIRONMENT_VARIABLE_BYTES_MAX,
  ENVIRONMENT_VARIABLES_MAX,
  GIB,
  KIB,
  MIB,
  utf8Bytes,
  VIEWERS_MAX,
} from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CanisterSettings, Visibility } from "../state/records.ts";

/** Settings as Candid decodes them: each optional. */
export interface GivenSettings {
  controllers: [] | [IdlPrincipal[]];
  compute_allocation: [] | [bigint];
  memory_allocation: [] | [bigint];
  freezing_threshold: [] | [bigint];
  reserved_cycles_limit: [] | [bigint];
  minimum_incoming_canister_call_cycles: [] | [bigint];
  log_visibility: [] | [GivenVisibility];
  snapshot_visibility: [] | [GivenVisibility];
  status_visibility: [] | [GivenVisibility];
  wasm_memory_limit: [] | [bigint];
  wasm_memory_threshold: [] | [bigint];
  environment_variables: [] | [{ name: string; value: string }[]];
  log_memory_limit: [] | [bigint];
}

type GivenVisibility =
  { controllers: null } | { public: null } | { allowed_viewers: IdlPrincipal[] };

/** Settings of a canister that is created by `creator` without any. */
export function defaultSettings(creator: Uint8Array): CanisterSettings {
  return {
    controllers: [creator],
    computeAllocation: 0,
    memoryAllocation: 0n,
    freezingThresholdSeconds: 2_592_000n,
    reservedCyclesLimit: 5_000_000_000_000n,
    minimumIncomingCycles: 0n,
    logVisibility: { kind: "controllers" },
    snapshotVisibility: { kind: "controllers" },
    statusVisibility: { kind: "controllers" },
    wasmMemoryLimit: BigInt(3 * GIB),
    wasmMemoryThreshold: 0n,
    environment: [],
    logMemoryLimit: BigInt(CANISTER_LOG_BYTES_DEFAULT),
  };
}

/** The settings after a change, or why the change is refused. */
export function changeSettings(
  current: CanisterSettings,
  given: GivenSettings | undefined,
): CanisterSettings | Reject {
  if (given === undefined) return current;
  const changed: CanisterSettings = { ...current };
  const [controllers] = given.controllers;
  if (controllers !== undefined) {
    if (controllers.length > CONTROLLERS_MAX)
      return invalid(`at most ${CONTROLLERS_MAX} controllers are allowed`);
    changed.controllers = controllers.map(fromIdlPrincipal);
  }
  const numbers = changeNumbers(changed, given);
  if (numbers !== undefined) return numbers;
  for (const [name, value] of [
    ["logVisibility", given.log_visibility[0]],
    ["snapshotVisibility", given.snapshot_visibility[0]],
    ["statusVisibility", given.status_visibility[0]],
  ] as const) {
    if (value === undefined) continue;
    const visibility = visibilityOf(value);
    if (visibility === undefined) return invalid(`at most ${VIEWERS_MAX} viewers are allowed`);
    changed[name] = visibility;
  }
  const [environment] = given.environment_variables;
  if (environment !== undefined) {
    const refused = checkEnvironment(environment);
    if (refused !== undefined) return refused;
    changed.environment = [...environment].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  return changed;
}

/** Settings as canister_status shows them. */
export function showSettings(settings: CanisterSettings): Record<string, unknown> {
  return {
    controllers: settings.controllers.map(toIdlPrincipal),
    compute_allocation: BigInt(settings.computeAllocation),
    memory_allocation: settings.memoryAllocation,
    freezing_threshold: settings.freezingThresholdSeconds,
    reserved_cycles_limit: settings.reservedCyclesLimit,
    minimum_incoming_canister_call_cycles: settings.minimumIncomingCycles,
    log_visibility: showVisibility(settings.logVisibility),
    snapshot_visibility: showVisibility(settings.snapshotVisibility),
    status_visibility: showVisibility(settings.statusVisibility),
    wasm_memory_limit: settings.wasmMemoryLimit,
    wasm_memory_threshold: settings.wasmMemoryThreshold,
    environment_variables: settings.environment,
    log_memory_limit: settings.logMemoryLimit,
  };
}

function changeNumbers(changed: CanisterSettings, given: GivenSettings): Reject | undefined {
  const bounded = [
    ["compute_allocation", 100n],
    ["memory_allocation", (1n << 64n) - 1n],
    ["freezing_threshold", (1n << 64n) - 1n],
    ["reserved_cycles_limit", (1n << 128n) - 1n],
    ["minimum_incoming_canister_call_cycles", (1n << 128n) - 1n],
    ["wasm_memory_limit", 1n << 48n],
    ["wasm_memory_threshold", (1n << 64n) - 1n],
    ["log_memory_limit", BigInt(2 * MIB)],
  ] as const;
  for (const [name, max] of bounded) {
    const [value] = given[name];
    if (value !== undefined && value > max)
      return invalid(`${name} is ${value}, at most ${max} is allowed`);
  }
  const [logLimit] = given.log_memory_limit;
  if (logLimit !== undefined && logLimit > 0n && logLimit < BigInt(4 * KIB)) {
    return invalid(`log_memory_limit is ${logLimit}, it must be 0 or at least ${4 * KIB}`);
  }
  changed.computeAllocation = Number(given.compute_allocation[0] ?? changed.computeAllocation);
  changed.memoryAllocation = given.memory_allocation[0] ?? changed.memoryAllocation;
  changed.freezingThresholdSeconds =
    given.freezing_threshold[0] ?? changed.freezingThresholdSeconds;
  changed.reservedCyclesLimit = given.reserved_cycles_limit[0] ?? changed.reservedCyclesLimit;
  changed.minimumIncomingCycles =
    given.minimum_incoming_canister_call_cycles[0] ?? changed.minimumIncomingCycles;
  changed.wasmMemoryLimit = given.wasm_memory_limit[0] ?? changed.wasmMemoryLimit;
  changed.wasmMemoryThreshold = given.wasm_memory_threshold[0] ?? changed.wasmMemoryThreshold;
  changed.logMemoryLimit = logLimit ?? changed.logMemoryLimit;
  return undefined;
}

function checkEnvironment(
  variables: readonly { name: string; value: string }[],
): Reject | undefined {
  if (variables.length > ENVIRONMENT_VARIABLES_MAX) {
    const text = `Too many environment variables: ${variables.length} (max: ${ENVIRONMENT_VARIABLES_MAX})`;
    return reject(ErrorCode.invalidManagementPayload, text);
  }
  const names = new Set<string>();
  for (const { name, value } of variables) {
    if (names.has(name))
      return reject(ErrorCode.invalidManagementPayload, `Duplicate environment variable: ${name}`);
    names.add(name);
    for (const text of [name, value]) {
      if (utf8Bytes(text).length <= ENVIRONMENT_VARIABLE_BYTES_MAX) continue;
      const message = `Environment variable name or value is longer than ${ENVIRONMENT_VARIABLE_BYTES_MAX} bytes: ${name}`;
      return reject(ErrorCode.invalidManagementPayload, message);
    }
  }
  return undefined;
}

function visibilityOf(given: GivenVisibility): Visibility | undefined {
  if ("public" in given) return { kind: "public" };
  if ("controllers" in given) return { kind: "controllers" };
  if (given.allowed_viewers.length > VIEWERS_MAX) return undefined;
  return { kind: "allowedViewers", viewers: given.allowed_viewers.map(fromIdlPrincipal) };
}

function showVisibility(visibility: Visibility): unknown {
  if (visibility.kind === "allowedViewers")
    return { allowed_viewers: visibility.viewers.map(toIdlPrincipal) };
  return { [visibility.kind]: null };
}

function invalid(what: string): Reject {
  return reject(ErrorCode.contractViolation, `Could not validate the settings: ${what}`);
}
