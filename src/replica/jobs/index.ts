// GPU jobs: what the node and its accelerators need of them. The state machine's side is internal.
export * from "./job.ts";
export { LLM_CANISTER_ID } from "./llm-interface.ts";
export { macsOf, type ModelRecord } from "./model-record.ts";
export {
  type MountainRange,
  mountainRangeCodec,
  proveLeaf,
  type RangeNode,
  type RangeProof,
  rangeNodeKey,
  verifyLeaf,
} from "./mountain-range.ts";
export { encodeResultMessage, encodeSignedStatement, type NodeStatement } from "./node-message.ts";
export { jobNumberOfKey, type PendingJob, pendingJobCodec } from "./pending-job.ts";
