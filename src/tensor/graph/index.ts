// Graphs: types, ops, building, bytes and identity, runs, cost, memory, and what backends see of them.
export { type MatmulOptions, type Operand, type ReduceOptions } from "./array-builder.ts";
export {
  type AttentionOptions,
  type Convolution,
  GraphBuilder,
  type LinearOptions,
  type NormOptions,
} from "./builder.ts";
export { type GraphCost, graphCost, nodeCost, resolvedCost } from "./cost.ts";
export { decodeGraph } from "./decode.ts";
export { type Dim, type DimLike, type DimSymbol, type DimTerm, formatDim } from "./dimension.ts";
export { encodeGraph, hashGraph } from "./encode.ts";
export * from "./executable.ts";
export * from "./resident.ts";
export { type Graph, type GraphInput, type GraphOutput, inputsOf } from "./graph.ts";
export * from "./host-tensor.ts";
export {
  bfp,
  bool,
  f32,
  i32,
  i64,
  OpBuilder,
  scaledBfp,
  type TypeLike,
  type Value,
} from "./op-builder.ts";
export {
  BINARY_OPS,
  COMPARE_OPS,
  GRAPH_LIMITS,
  type GraphLimits,
  OP_KINDS,
  OP_TABLE_VERSION,
  UNARY_OPS,
} from "./op-list.ts";
export * from "./op.ts";
export { type MemoryPlan, planGraph, type PlannedNode, planMemory } from "./plan.ts";
export { type AccumulatorProof, proveGraph } from "./proof.ts";
export { type PreparedRun, prepareRun, resolveGraph, runGraph, type Sizes } from "./resolve.ts";
export { elementBytes, storageBytes } from "./storage.ts";
export { formatType } from "./type-check.ts";
export * from "./value.ts";
