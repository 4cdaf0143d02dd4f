// Backends behind one contract: the oracle, the CPU's and WebGPU's; conformance of any of them.
export type { CaseSet } from "./cases.ts";
export { type ConformanceReport, expectedDigest, runConformance } from "./conformance.ts";
export {
  describeModelSignals,
  formatSignals,
  type NodeSignal,
  signalToNoise,
} from "./float64/signal.ts";
export { type GraphCase, graphCases } from "./graph-cases.ts";
export { findGraphMismatches } from "./graph-conformance.ts";
export {
  type Stratum,
  sweepFunctions,
  type SweepListener,
  type SweepReport,
  sweepUnary,
} from "./plain/sweep.ts";
export { PUBLISHED_CONFORMANCE } from "./published-digest.ts";
export { createReferenceBackend } from "./reference/index.ts";
export { createWasmBackend } from "./wasm/index.ts";
export { createWebGpuBackend, type Gpu, type WebGpuOptions } from "./webgpu/index.ts";
