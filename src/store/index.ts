// Key-value stores of replicated state behind one contract.
export type * from "./contract.ts";
export { type CrashPlan, createFaultyStore, type FaultyStore } from "./faulty-store.ts";
export { assertFollows, createMemoryStore } from "./memory-store.ts";
export { MemoryView } from "./memory-view.ts";
export {
  emptyStateRoot,
  type GroupedTypes,
  loadStateTrie,
  rebuildStateTrie,
  type StateTrie,
  type TrieSource,
  type TrieUpdate,
} from "./state-trie.ts";
export { StoreError, type StoreErrorInfo } from "./store-error.ts";
export { commitOf, storeSuite, type StoreMaker } from "./store-suite.ts";
