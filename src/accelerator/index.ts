// Runs jobs on a device: bytes in, bytes out. Only the node imports it, the state machine never.
export { chatFrame, type ChatFrame, type FrameName } from "./chat-frame.ts";
export { type LanguageModel, loadLanguageModel, type ModelFiles } from "./language-model.ts";
export { type JobRun, runJob } from "./run-job.ts";
