// GPU jobs as bytes: requests, results, receipts and the proofs of receipts. Shared by the state
// machine, which agrees on them, and the accelerators, which run them.
export * from "./job.ts";
export * from "./model-record.ts";
export * from "./mountain-range.ts";
