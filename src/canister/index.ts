// Canisters: Wasm modules and their execution. The replica sees the contract, not the engine.
export * from "./contract.ts";
export { CanisterError, type CanisterErrorInfo } from "./runtime/error.ts";
export { DIRTY_PAGE_INSTRUCTIONS, GAS_SLICE } from "./runtime/gas-meter.ts";
export { type CanisterRuntimeOptions, createCanisterRuntime } from "./runtime/runtime.ts";
export { STACK_BYTES } from "./runtime/session.ts";
export { MODE_NAME } from "./system-api/mode.ts";
export { SYSTEM_CALL_NAMES, type SystemCallName } from "./system-api/rules.ts";
export * from "./wasm/index.ts";
