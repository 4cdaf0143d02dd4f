// Models on this machine: fetched, kept in a store, read from their files. A door of its own, so that running
// one loads nothing else of a node.
export { installNodeHashes } from "../hash-provider.ts";
export { NodeError, type NodeErrorInfo } from "../node-error.ts";
export { fetchModel, type FetchedModel, type FetchOptions } from "./fetch-model.ts";
export { BUNDLED_MODEL, bundledModelPath, loadModel, modelReason } from "./model-folder.ts";
export { ModelStore, type StoredModel, verifyStoredModel } from "./model-store.ts";
