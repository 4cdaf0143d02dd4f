// The one contract between the state machine and whatever keeps its state: an ordered key-value
// view for reading, an ordered list of writes, and one durable commit a block. Every store passes
// the same compliance suite. Owns no storage.

/** Synchronous reads of one consistent state. Returned bytes must not be modified. */
export interface StateView {
  get(key: Uint8Array): Uint8Array | undefined;
  /** The same value, perhaps in memory that the next read of this view overwrites: to be copied at once. */
  peek(key: Uint8Array): Uint8Array | undefined;
  /** All entries whose key starts with `prefix`, in ascending byte order of the key. */
  range(prefix: Uint8Array): Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** The keys of `range`, without a look at the values. */
  keys(prefix: Uint8Array): Iterable<Uint8Array>;
  /** The first entry whose key starts with `prefix` and is >= `from`. */
  first(
    prefix: Uint8Array,
    from?: Uint8Array,
  ): readonly [key: Uint8Array, value: Uint8Array] | undefined;
}

/** A put, or a delete where `value` is undefined. */
export interface StateWrite {
  key: Uint8Array;
  value: Uint8Array | undefined;
}

/** What is known of the last committed block. */
export interface StateHeader {
  height: bigint;
  timeNs: bigint;
  stateRoot: Uint8Array;
}

/** Everything one block changes; stored whole or not at all. */
export interface Commit {
  header: StateHeader;
  /** Encoded block, appended to the block log. */
  block: Uint8Array;
  writes: readonly StateWrite[];
  /** Derived data (hash caches): not part of replicated state, rebuilt when absent. */
  derived: readonly StateWrite[];
  /** What the node keeps besides the state, such as bodies of receipts: neither hashed nor rebuilt. */
  archive: readonly StateWrite[];
}

/** A durable store of one network's state. */
export interface Store {
  /** The state as of the last commit; valid until the next commit of this object. */
  readonly view: StateView;
  readonly derived: StateView;
  readonly archive: StateView;
  /** undefined before genesis. */
  header(): StateHeader | undefined;
  block(height: bigint): Uint8Array | undefined;
  /** Durable when it returns: the bytes have been flushed. @throws StoreError */
  commit(commit: Commit): void;
  close(): Promise<void>;
}
