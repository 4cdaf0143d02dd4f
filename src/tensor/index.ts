// Precisions, decoder shapes, op calls, static cost, and the contract of backends.
export * from "./backend-contract.ts";
export * from "./cost.ts";
export * from "./decoder-design.ts";
export * from "./decoder-shape.ts";
export * from "./embedding-table.ts";
export * from "./error.ts";
export * from "./op-check.ts";
export * from "./precision.ts";
export * from "./wide-matrix.ts";
export * from "./graph/index.ts";
export * from "./gradient/index.ts";
