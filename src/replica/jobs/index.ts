// GPU jobs in the state machine: what the node needs of them. Jobs as bytes are gyrotron/job.
export { LLM_CANISTER_ID } from "./llm-interface.ts";
export { encodeResultMessage, encodeSignedStatement, type NodeStatement } from "./node-message.ts";
export { jobNumberOfKey, type PendingJob, pendingJobCodec } from "./pending-job.ts";
