// The deterministic state machine and everything derived from its state.
export type { ModuleCache } from "./block-context.ts";
export * from "./certification/index.ts";
export * from "./certified-changes.ts";
export type * from "./contract.ts";
export * from "./http-api/index.ts";
export * from "./jobs/index.ts";
export { inspectManagementIngress, MANAGEMENT_METHODS } from "./management/dispatch.ts";
export { THRESHOLD_KEY_NAMES } from "./cycles/prices.ts";
export { createModuleCache, type ModuleCacheOptions } from "./module-cache.ts";
export * from "./outside/index.ts";
export { precheckSubnetCall } from "./query.ts";
export { createReplica, type ReplicaOptions } from "./replica.ts";
export * from "./state/keys.ts";
export {
  canisterCodec,
  type CanisterRecord,
  ingressCodec,
  type IngressRecord,
  networkCodec,
} from "./state/records.ts";
export * from "./system-canisters/index.ts";
