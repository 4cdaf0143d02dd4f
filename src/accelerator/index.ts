// Runs jobs on a device: bytes in, bytes out. Only the node imports it, the state machine never.
export { type ChatFrame, type FrameName, plainFrame, templateFrame } from "./chat-frame.ts";
export {
  type LanguageModel,
  loadLanguageModel,
  type ModelFiles,
  type TokenizerFiles,
} from "./language-model.ts";
export { type JobRun, type RunControls, runJob } from "./run-job.ts";
