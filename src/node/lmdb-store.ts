// The durable store: one LMDB environment with state, derived data, the block log and the header.
// One synchronous transaction a block, flushed (fdatasync) when it returns. Other threads open the
// same folder for reading and see whole blocks only. The folder itself is data-folder.ts's matter.

import { open, type Database, type RootDatabase, type Transaction } from "lmdb";
import {
  assert,
  codec,
  decodeWith,
  encodeWith,
  equalBytes,
  formatHex,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import { assertFollows, StoreError } from "gyrotron/store";
import type { Commit, StateHeader, StateView, StateWrite, Store } from "gyrotron/store";
import { asStoreError } from "./data-folder.ts";
import { checkLmdbFile } from "./lmdb-file.ts";

/** A reader with a snapshot of its own, which moves only when told to. */
export interface StoreReader {
  readonly view: StateView;
  readonly derived: StateView;
  readonly archive: StateView;
  /** Header of the snapshot; undefined before genesis. */
  header(): StateHeader | undefined;
  block(height: bigint): Uint8Array | undefined;
  /** Moves to the last commit; bytes read before stay valid. */
  renew(): void;
  close(): Promise<void>;
}

/** Opens the store in `path`, creating it if absent. @throws StoreError */
export function openLmdbStore(path: string): Store {
  return asStoreError(path, () => new LmdbStore(path));
}

/** Opens an existing store for reading, in any thread of the process that writes. @throws StoreError */
export function openLmdbReader(path: string): StoreReader {
  return asStoreError(path, () => new LmdbReader(path));
}

/** What a store is made of, for copying one as a whole. */
export type StoreSection = "state" | "archive" | "blocks";

/** Fills an empty store from elsewhere. Without `finish` there is no header, and no state to boot on. */
export interface StoreImport {
  /** Entries of one section, in one transaction. */
  put(section: StoreSection, entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  readonly view: StateView;
  /** The hashes kept of the state, and the header, which makes the state whole. Durable when it returns. */
  finish(header: StateHeader, derived: Iterable<StateWrite>): void;
  close(): Promise<void>;
}

/** Creates a store to be filled. @throws StoreError if it holds a state */
export function openLmdbImport(path: string): StoreImport {
  return asStoreError(path, () => {
    const databases = openDatabases(path);
    const { root, derived, meta } = databases;
    if (meta.get(HEADER_KEY) !== undefined)
      throw new StoreError({ code: "store/failed", path, what: "it holds a state already" });
    return {
      view: checkedView(databases, path),
      put: (section, entries) =>
        asStoreError(path, () =>
          root.transactionSync(() => {
            for (const [key, value] of entries)
              databases[section].putSync(asBuffer(key), asBuffer(value));
          }),
        ),
      finish: (header, writes) =>
        asStoreError(path, () =>
          root.transactionSync(() => {
            for (const write of writes) writeAll(derived, [write]);
            meta.putSync(HEADER_KEY, asBuffer(encodeWith(headerCodec, header)));
          }),
        ),
      close: () => root.close(),
    };
  });
}

/** Address space to reserve; the file grows only as it is written. */
const MAP_BYTES = 2 ** 40;
const CHECKED_BYTES_MIN = 4096;
const HEADER_KEY = utf8Bytes("header");

const headerCodec = codec.record<{ height: bigint; timeNs: bigint; stateRoot: Uint8Array }>({
  height: codec.u64,
  timeNs: codec.u64,
  stateRoot: codec.fixedBytes(32),
});

interface Databases {
  root: RootDatabase<Buffer, Uint8Array>;
  state: Database<Buffer, Uint8Array>;
  derived: Database<Buffer, Uint8Array>;
  archive: Database<Buffer, Uint8Array>;
  blocks: Database<Buffer, Uint8Array>;
  meta: Database<Buffer, Uint8Array>;
}

function openDatabases(path: string): Databases {
  checkLmdbFile(path);
  const binary = { keyEncoding: "binary", encoding: "binary" } as const;
  const root = open<Buffer, Uint8Array>({
    ...binary,
    path,
    // Always a folder, whatever its name looks like.
    noSubdir: false,
    mapSize: MAP_BYTES,
    maxDbs: 8,
    maxReaders: 32,
    // The commit itself must flush: never a second, later sync.
    overlappingSync: false,
  });
  const database = (name: string): Database<Buffer, Uint8Array> => root.openDB({ ...binary, name });
  return {
    root,
    state: database("state"),
    derived: database("derived"),
    archive: database("archive"),
    blocks: database("blocks"),
    meta: database("meta"),
  };
}

class LmdbStore implements Store {
  readonly #path: string;
  readonly #databases: Databases;
  readonly view: StateView;
  readonly derived: StateView;
  readonly archive: StateView;
  #header: StateHeader | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#databases = openDatabases(path);
    this.view = checkedView(this.#databases, path);
    this.derived = viewOf(this.#databases.derived, path);
    this.archive = viewOf(this.#databases.archive, path);
    this.#header = readHeader(this.#databases.meta.get(HEADER_KEY));
  }

  header(): StateHeader | undefined {
    return this.#header;
  }

  block(height: bigint): Uint8Array | undefined {
    return asStoreError(this.#path, () =>
      plainBytes(this.#databases.blocks.get(u64BigEndian(height))),
    );
  }

  commit(commit: Commit): void {
    assertFollows(this.#header, commit.header);
    const { root, state, derived, archive, blocks, meta } = this.#databases;
    asStoreError(this.#path, () => {
      // Without flags transactionSync returns after the data and the new root are flushed.
      root.transactionSync(() => {
        writeAll(state, commit.writes);
        writeAll(derived, commit.derived);
        writeAll(archive, commit.archive);
        blocks.putSync(u64BigEndian(commit.header.height), asBuffer(commit.block));
        meta.putSync(HEADER_KEY, asBuffer(encodeWith(headerCodec, commit.header)));
      });
    });
    this.#header = { ...commit.header };
  }

  async close(): Promise<void> {
    await this.#databases.root.close();
  }
}

class LmdbReader implements StoreReader {
  readonly #path: string;
  readonly #databases: Databases;
  readonly view: StateView;
  readonly derived: StateView;
  readonly archive: StateView;
  #snapshot: Transaction;

  constructor(path: string) {
    this.#path = path;
    this.#databases = openDatabases(path);
    this.#snapshot = this.#databases.root.useReadTransaction();
    this.view = checkedView(this.#databases, path, () => this.#snapshot);
    this.derived = viewOf(this.#databases.derived, path, () => this.#snapshot);
    this.archive = viewOf(this.#databases.archive, path, () => this.#snapshot);
  }

  header(): StateHeader | undefined {
    return readHeader(this.#databases.meta.get(HEADER_KEY, { transaction: this.#snapshot }));
  }

  block(height: bigint): Uint8Array | undefined {
    const { blocks } = this.#databases;
    return asStoreError(this.#path, () =>
      plainBytes(blocks.get(u64BigEndian(height), { transaction: this.#snapshot })),
    );
  }

  renew(): void {
    this.#snapshot.done();
    // Without the reset the library may hand out the transaction that it still has open.
    this.#databases.root.resetReadTxn();
    this.#snapshot = this.#databases.root.useReadTransaction();
  }

  async close(): Promise<void> {
    this.#snapshot.done();
    await this.#databases.root.close();
  }
}

/**
 * The state, with large values compared with the hashes kept of them: they fill pages of their own,
 * whose damage nothing else would notice. What is small lies among the tree's own pages.
 */
function checkedView(databases: Databases, path: string, snapshot?: () => Transaction): StateView {
  const state = viewOf(databases.state, path, snapshot);
  const hashes = viewOf(databases.derived, path, snapshot);
  const check = (key: Uint8Array, value: Uint8Array | undefined, known?: Uint8Array): void => {
    if (value === undefined || value.length < CHECKED_BYTES_MIN) return;
    const hash = known ?? hashes.get(key);
    if (hash === undefined || equalBytes(hash, sha256(value))) return;
    const what = `the value at key ${formatHex(key)} is not what was stored`;
    throw new StoreError({ code: "store/damaged", path, what });
  };
  return {
    get(key) {
      const value = state.get(key);
      check(key, value);
      return value;
    },
    peek(key) {
      // The hash first: reading it would overwrite the value.
      const hash = hashes.get(key);
      const value = state.peek(key);
      check(key, value, hash);
      return value;
    },
    keys: (prefix) => state.keys(prefix),
    *range(prefix) {
      for (const entry of state.range(prefix)) {
        check(...entry);
        yield entry;
      }
    },
    first(prefix, from) {
      const entry = state.first(prefix, from);
      if (entry !== undefined) check(...entry);
      return entry;
    },
  };
}

function viewOf(
  database: Database<Buffer, Uint8Array>,
  path: string,
  snapshot?: () => Transaction,
): StateView {
  const options = (): { transaction?: Transaction } =>
    snapshot === undefined ? {} : { transaction: snapshot() };
  const range = function* (
    start: Uint8Array,
    prefix: Uint8Array,
    limit?: number,
  ): Generator<readonly [Uint8Array, Uint8Array]> {
    const end = successorOf(prefix);
    const bounds = { start, ...(end && { end }), ...(limit !== undefined && { limit }) };
    const entries = database.getRange({ ...bounds, ...options() })[Symbol.iterator]();
    try {
      for (;;) {
        const next = asStoreError(path, () => entries.next());
        if (next.done === true) return;
        yield [plainBytes(next.value.key)!, plainBytes(next.value.value)!];
      }
    } finally {
      entries.return?.();
    }
  };
  const keys = function* (prefix: Uint8Array): Generator<Uint8Array> {
    const end = successorOf(prefix);
    const bounds = { start: prefix, ...(end && { end }) };
    const found = database.getKeys({ ...bounds, ...options() })[Symbol.iterator]();
    try {
      for (;;) {
        const next = asStoreError(path, () => found.next());
        if (next.done === true) return;
        yield plainBytes(next.value)!;
      }
    } finally {
      found.return?.();
    }
  };
  return {
    get: (key) => asStoreError(path, () => plainBytes(database.get(key, options()))),
    peek: (key) =>
      asStoreError(path, () =>
        sharedBytes((database as SharingDatabase).getBinaryFast(key, options())),
      ),
    keys,
    range: (prefix) => range(prefix, prefix),
    first(prefix, from) {
      const start = from !== undefined && Buffer.compare(from, prefix) > 0 ? from : prefix;
      for (const entry of range(start, prefix, 1)) return entry;
      return undefined;
    },
  };
}

function writeAll(database: Database<Buffer, Uint8Array>, writes: readonly StateWrite[]): void {
  for (const { key, value } of writes) {
    assert(key.length > 0, "a key has at least one byte");
    if (value === undefined) database.removeSync(key);
    else database.putSync(key, asBuffer(value));
  }
}

/** The least byte string above all that start with `prefix`, or undefined if there is none. */
function successorOf(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] === 0xff) continue;
    const successor = prefix.slice(0, i + 1);
    successor[i]!++;
    return successor;
  }
  return undefined;
}

function readHeader(bytes: Buffer | undefined): StateHeader | undefined {
  return bytes === undefined ? undefined : decodeWith(headerCodec, plainBytes(bytes)!);
}

/** The library's Buffers, whose `slice` shares memory, never reach the rest of the program. */
function plainBytes(bytes: Buffer | Uint8Array | undefined): Uint8Array | undefined {
  return bytes === undefined
    ? undefined
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A database whose types, unlike the library's, say that this takes options as `get` does. */
interface SharingDatabase {
  getBinaryFast(key: Uint8Array, options: { transaction?: Transaction }): Buffer | undefined;
}

/** The library's one buffer, which is longer than the value; its `length` is that of the value. */
function sharedBytes(bytes: Buffer | undefined): Uint8Array | undefined {
  return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
