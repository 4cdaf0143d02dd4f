// Key-value stores of replicated state behind one contract.
export type * from "./contract.ts";
