// Exact scalar arithmetic: the executable reference of docs/spec/01-numerics.md.
export * from "./constant.ts";
export * from "./function.ts";
export * from "./function-table.ts";
export * from "./program.ts";
export * from "./round.ts";
export * from "./row.ts";
export * from "./sampling.ts";
export * from "./table.ts";
export * from "./threefry.ts";
