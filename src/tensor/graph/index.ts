// Graphs: types, ops, and what backends see of them.
export * from "./executable.ts";
export * from "./op.ts";
export * from "./value.ts";
