// A network's state as one portable file: header, entries of the store in chunks with their hashes, and
// an end that counts and hashes them all. The state root is computed again from the entries, so a
// file proves what it says it is. Owns neither the data folder's layout nor keys beyond carrying them.

import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import {
  assert,
  compareBytes,
  concatBytes,
  DecodeError,
  equalBytes,
  formatHex,
  present,
  u32BigEndian,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";
import { type CborMap, decodeCbor, encodeCbor } from "gyrotron/crypto";
import { CHUNK_TYPES } from "gyrotron/replica";
import { rebuildStateTrie, type StateHeader, StoreError } from "gyrotron/store";
import {
  asStoreError,
  DATA_FORMAT,
  makeFolder,
  openDataFolder,
  writeDurably,
} from "./data-folder.ts";
import {
  openLmdbImport,
  openLmdbReader,
  type StoreReader,
  type StoreSection,
} from "./lmdb-store.ts";

/** What a file, or a folder, holds. */
export interface StateSummary {
  readonly header: StateHeader;
  /** Format of the data that is in it. */
  readonly dataFormat: string;
  readonly entries: Readonly<Record<StoreSection, number>>;
  readonly hasKeys: boolean;
}

/** Name and version of the format. */
const MAGIC = utf8Bytes("gyrotron state archive 1\n");
const CHUNK_BYTES = 1024 * 1024;
/** A chunk ends with the entry that fills it, and no value is larger than this. */
const CHUNK_BYTES_MAX = 32 * 1024 * 1024;
const HASH_BYTES = 32;
const SECTIONS: readonly StoreSection[] = ["state", "archive", "blocks"];
/** Kinds of chunks: the end, the header, the sections in their order, the keys. */
const [END, HEADER, FIRST_SECTION, KEYS] = [0, 1, 2, 9];

/** Writes the folder's state into a new file; keys are secret and go along only if asked for. @throws StoreError */
export function exportState(
  dataDir: string,
  file: string,
  options: { withKeys: boolean },
): Promise<StateSummary> {
  return withFolder(dataDir, (reader, header, keysPath) =>
    asStoreError(file, () => {
      const writer = new ArchiveWriter(file);
      try {
        writer.chunk(HEADER, encodeHeader(header));
        const entries = countEntries();
        for (const [index, section] of SECTIONS.entries())
          entries[section] = writer.entries(
            FIRST_SECTION + index,
            entriesOf(reader, section, header),
          );
        if (options.withKeys) writer.chunk(KEYS, new Uint8Array(readFileSync(keysPath)));
        writer.end();
        return { header, dataFormat: DATA_FORMAT, entries, hasKeys: options.withKeys };
      } finally {
        writer.close();
      }
    }),
  );
}

/** Fills an empty folder from a file, after which a node can start there. @throws StoreError */
export async function importState(file: string, dataDir: string): Promise<StateSummary> {
  const path = resolve(dataDir);
  requireEmpty(path);
  asStoreError(path, () => makeFolder(path));
  const folder = openDataFolder(path);
  try {
    const store = openLmdbImport(folder.statePath);
    try {
      let keys: Uint8Array | undefined;
      const summary = readArchive(file, {
        entries: (section, entries) => store.put(section, entries),
        keys: (bytes) => {
          keys = bytes;
        },
      });
      const trie = rebuildStateTrie(store.view, CHUNK_TYPES);
      requireRoot(file, trie.root(), summary.header);
      store.finish(summary.header, trie.derived());
      if (keys !== undefined) writeDurably(folder.keysPath, new TextDecoder().decode(keys), 0o600);
      folder.writeFormat();
      return summary;
    } catch (error) {
      await store.close();
      rmSync(folder.statePath, { recursive: true, force: true });
      throw error;
    } finally {
      await store.close();
    }
  } finally {
    folder.release();
  }
}

/** Reads all of a file and computes its state root again. @throws StoreError `store/damaged` */
export function verifyStateFile(file: string): StateSummary {
  // One walk checks the hashes of chunks; the other gives the entries, one chunk at a time.
  const summary = readArchive(file, {});
  const view = { range: () => stateEntries(file) };
  requireRoot(file, rebuildStateTrie(view, CHUNK_TYPES).root(), summary.header);
  return summary;
}

/** As verifyStateFile, for the state in a data folder. @throws StoreError */
export function verifyStateFolder(dataDir: string): Promise<StateSummary> {
  return withFolder(dataDir, (reader, header, keysPath) => {
    const trie = rebuildStateTrie(reader.view, CHUNK_TYPES);
    requireRoot(dataDir, trie.root(), header);
    for (const { key, value } of trie.derived()) {
      // What is lost a node computes again.
      const kept = reader.derived.get(key);
      if (kept !== undefined && !equalBytes(kept, present(value)))
        throw damaged(dataDir, `the hash kept at key ${formatHex(key)} is not of what is there`);
    }
    const entries = countEntries();
    for (const section of SECTIONS)
      for (const _ of entriesOf(reader, section, header)) entries[section] += 1;
    return { header, dataFormat: DATA_FORMAT, entries, hasKeys: existsSync(keysPath) };
  });
}

/** The lock files of an import that failed are no state. */
function requireEmpty(path: string): void {
  const found = existsSync(path) ? readdirSync(path) : [];
  if (found.every((name) => name === "lock" || name === "lock.pid")) return;
  const what = "a state is imported into an empty folder only";
  throw new StoreError({ code: "store/failed", path, what });
}

type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** Holds the folder while `use` reads its state. */
async function withFolder<T>(
  dataDir: string,
  use: (reader: StoreReader, header: StateHeader, keysPath: string) => T,
): Promise<T> {
  const path = resolve(dataDir);
  if (!existsSync(join(path, "format")))
    throw new StoreError({ code: "store/failed", path, what: "there is no state in this folder" });
  const folder = openDataFolder(path);
  try {
    const reader = openLmdbReader(folder.statePath);
    try {
      const header = reader.header();
      if (header === undefined) throw damaged(path, "there is no header");
      return use(reader, header, folder.keysPath);
    } finally {
      await reader.close();
    }
  } finally {
    folder.release();
  }
}

function* entriesOf(
  reader: StoreReader,
  section: StoreSection,
  header: StateHeader,
): Generator<Entry> {
  const all = new Uint8Array(0);
  if (section === "state") yield* reader.view.range(all);
  else if (section === "archive") yield* reader.archive.range(all);
  else {
    for (let height = 0n; height <= header.height; height++)
      yield [u64BigEndian(height), present(reader.block(height), "the block log has no gaps")];
  }
}

function countEntries(): Record<StoreSection, number> {
  return { state: 0, archive: 0, blocks: 0 };
}

function encodeHeader({ height, timeNs, stateRoot }: StateHeader): Uint8Array {
  return encodeCbor({ data_format: DATA_FORMAT, height, time: timeNs, state_root: stateRoot });
}

function decodeHeader(
  file: string,
  bytes: Uint8Array,
): { header: StateHeader; dataFormat: string } {
  const map = decodeCbor(bytes);
  const fields: CborMap = map instanceof Map ? map : new Map();
  const [height, timeNs] = [fields.get("height"), fields.get("time")];
  const [stateRoot, dataFormat] = [fields.get("state_root"), fields.get("data_format")];
  const isHeader =
    typeof height === "bigint" &&
    typeof timeNs === "bigint" &&
    stateRoot instanceof Uint8Array &&
    typeof dataFormat === "string";
  if (!isHeader) throw damaged(file, "the header is malformed");
  if (dataFormat !== DATA_FORMAT) {
    const found = dataFormat.slice(0, 60);
    throw new StoreError({ code: "store/other-version", path: file, found, expected: DATA_FORMAT });
  }
  return { header: { height, timeNs, stateRoot }, dataFormat };
}

/** Writes chunks: kind, length, hash, content. */
class ArchiveWriter {
  readonly #file: number;
  readonly #hash = createHash("sha256");

  constructor(path: string) {
    this.#file = openSync(path, "wx", 0o600);
    this.#write(MAGIC);
  }

  chunk(kind: number, content: Uint8Array): void {
    assert(content.length <= CHUNK_BYTES_MAX, "a chunk has a limit");
    const hash = sha256(content);
    this.#hash.update(Uint8Array.of(kind)).update(hash);
    this.#write(concatBytes(Uint8Array.of(kind), u32BigEndian(content.length), hash));
    this.#write(content);
  }

  /** As many chunks as the entries fill; how many entries there were. */
  entries(kind: number, entries: Iterable<Entry>): number {
    let count = 0;
    let size = 0;
    let parts: Uint8Array[] = [];
    for (const [key, value] of entries) {
      parts.push(u32BigEndian(key.length), key, u32BigEndian(value.length), value.slice());
      size += 8 + key.length + value.length;
      count += 1;
      if (size < CHUNK_BYTES) continue;
      this.chunk(kind, concatBytes(...parts));
      [parts, size] = [[], 0];
    }
    if (size > 0) this.chunk(kind, concatBytes(...parts));
    return count;
  }

  /** The end names the hash of all chunks' kinds and hashes, and is flushed. */
  end(): void {
    const content = new Uint8Array(this.#hash.digest());
    this.#write(
      concatBytes(Uint8Array.of(END), u32BigEndian(content.length), sha256(content), content),
    );
    fsyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length;)
      start += writeSync(this.#file, bytes, start, bytes.length - start);
  }
}

interface ArchiveVisitor {
  entries?(section: StoreSection, entries: readonly Entry[]): void;
  keys?(bytes: Uint8Array): void;
}

/** Reads a whole file; every chunk is checked before it is used. @throws StoreError `store/damaged` */
function readArchive(file: string, visitor: ArchiveVisitor): StateSummary {
  const entries = countEntries();
  let described: { header: StateHeader; dataFormat: string } | undefined;
  let hasKeys = false;
  const last = new Map<StoreSection, Uint8Array | undefined>();
  for (const { kind, content } of chunksOf(file)) {
    if (kind === HEADER) {
      if (described !== undefined) throw damaged(file, "there are two headers");
      described = decodeHeader(file, content);
      continue;
    }
    if (described === undefined) throw damaged(file, "the header does not come first");
    if (kind === KEYS) {
      hasKeys = true;
      visitor.keys?.(content);
      continue;
    }
    const section = SECTIONS[kind - FIRST_SECTION];
    if (section === undefined) throw damaged(file, `chunks of kind ${kind} are not known`);
    const found = entriesIn(file, content);
    last.set(section, requireOrder(file, section, last.get(section), found));
    entries[section] += found.length;
    visitor.entries?.(section, found);
  }
  if (described === undefined) throw damaged(file, "there is no header");
  return { ...described, entries, hasKeys };
}

function* stateEntries(file: string): Generator<Entry> {
  for (const { kind, content } of chunksOf(file))
    if (kind === FIRST_SECTION) yield* entriesIn(file, content);
}

function* chunksOf(file: string): Generator<{ kind: number; content: Uint8Array }> {
  const descriptor = asStoreError(file, () => openSync(file, "r"));
  let position = 0;
  const read = (length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    for (let start = 0; start < length;) {
      const count = readSync(descriptor, bytes, start, length - start, position);
      if (count === 0) throw damaged(file, `it ends early, at byte ${position}`);
      start += count;
      position += count;
    }
    return bytes;
  };
  try {
    if (!equalBytes(read(MAGIC.length), MAGIC))
      throw damaged(file, "it is no state archive of version 1");
    const all = createHash("sha256");
    for (;;) {
      const at = position;
      const head = read(5);
      const [kind] = head as unknown as [number];
      const length = new DataView(head.buffer).getUint32(1);
      if (length > CHUNK_BYTES_MAX) throw damaged(file, `the chunk at byte ${at} is too long`);
      const hash = read(HASH_BYTES);
      const content = read(length);
      if (!equalBytes(sha256(content), hash))
        throw damaged(file, `the chunk at byte ${at} is not what was written`);
      if (kind === END) {
        if (!equalBytes(content, new Uint8Array(all.digest())))
          throw damaged(file, "chunks are missing or in another order");
        if (readSync(descriptor, new Uint8Array(1), 0, 1, position) > 0)
          throw damaged(file, "something follows the end");
        return;
      }
      all.update(Uint8Array.of(kind)).update(hash);
      yield { kind, content };
    }
  } catch (error) {
    if (error instanceof DecodeError) throw damaged(file, error.info.what);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

function entriesIn(file: string, content: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  let offset = 0;
  const take = (): Uint8Array => {
    const start = offset + 4;
    const end = start <= content.length ? start + view.getUint32(offset) : Infinity;
    if (end > content.length) throw damaged(file, "an entry ends outside of its chunk");
    offset = end;
    return content.subarray(start, end);
  };
  // Keys are copied: whoever keeps one would keep the whole chunk.
  while (offset < content.length) entries.push([take().slice(), take()]);
  return entries;
}

/** Keys ascend, and none of the state begins with another: its tree relies on both. The last key. */
function requireOrder(
  file: string,
  section: StoreSection,
  before: Uint8Array | undefined,
  entries: readonly Entry[],
): Uint8Array | undefined {
  let last = before;
  for (const [key] of entries) {
    const isFirst = last === undefined || compareBytes(last, key) < 0;
    if (!isFirst || key.length === 0) throw damaged(file, "its keys are not in order");
    const isNested =
      section === "state" && last !== undefined && equalBytes(key.subarray(0, last.length), last);
    if (isNested) throw damaged(file, "one of its keys begins with another");
    last = key;
  }
  return last;
}

function requireRoot(path: string, root: Uint8Array, header: StateHeader): void {
  if (!equalBytes(root, header.stateRoot))
    throw damaged(path, "the state is not the one that its root names");
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

function damaged(path: string, what: string): StoreError {
  return new StoreError({ code: "store/damaged", path, what });
}
