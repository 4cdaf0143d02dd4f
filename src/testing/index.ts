// A network in memory for tests of canisters: the real state machine with a clock of the test's.
export type { PrincipalLike } from "./principal-like.ts";
export type { IdlFactory } from "./test-actor.ts";
export { TestError, type TestErrorInfo } from "./test-error.ts";
export { type ModelOptions, TestJobs, type WaitingJob } from "./test-jobs.ts";
export { type OutcallAnswer, TestOutcalls, type WaitingOutcall } from "./test-outcalls.ts";
export {
  type CallOptions,
  type CallState,
  createTestNetwork,
  type CreationOptions,
  type InstallOptions,
  type SentCall,
  TestNetwork,
  type TestNetworkOptions,
} from "./test-network.ts";
