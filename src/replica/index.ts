// The deterministic state machine and everything derived from its state.
export type * from "./contract.ts";
export * from "./state-keys.ts";
