// The composition root: a node on this machine, its door for HTTP, and the compilers.
export { type CompiledModule, compileFile, type CompileOptions } from "./compiler/compile.ts";
export {
  CompilerError,
  type CompilerErrorInfo,
  type Diagnostic,
} from "./compiler/compiler-error.ts";
export {
  type AnonymousAnswer,
  type AnonymousRequest,
  callAnonymously,
  queryAnonymously,
} from "./http/anonymous-request.ts";
export { escapeHtml } from "./http/gateway/gateway-page.ts";
export { type HttpReply } from "./http/http-reply.ts";
export { HttpServer, type HttpServerOptions, type PageHandler } from "./http/http-server.ts";
export { HttpServerError, type HttpServerErrorInfo } from "./http/http-error.ts";
export { installNodeCrypto } from "./crypto-provider.ts";
export { createInlineNode, type InlineNodeOptions } from "./inline-node.ts";
export { type JobAccelerator } from "./jobs/job-runner.ts";
export { startAccelerator } from "./jobs/threaded-accelerator.ts";
export { loadNodeKeys, type NetworkChoices, type NodeKeys, nodeKeysFromEntropy } from "./keys.ts";
export { openLmdbStore } from "./lmdb-store.ts";
export { createNode, systemHost } from "./node.ts";
export * from "./node-contract.ts";
export type { NodeHost } from "./node-core.ts";
export { NodeError, type NodeErrorInfo } from "./node-error.ts";
export {
  exportState,
  importState,
  type StateSummary,
  verifyStateFile,
  verifyStateFolder,
} from "./state-archive.ts";
export { blockLogOf, replayBlockLog } from "./replay.ts";
