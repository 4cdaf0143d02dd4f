// The folder that a node keeps its data in: who holds it, which format it has, and what the
// operating system's complaints about it mean. Layout: format, lock, keys.json, state/.
// Owns neither the contents of keys.json nor of state/.

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MIB } from "gyrotron/base";
import { StoreError } from "gyrotron/store";

/** Format of everything in the folder; another number means another layout or other encodings. */
export const DATA_FORMAT = "gyrotron data 3";

/** A folder that this process holds. */
export interface DataFolder {
  readonly path: string;
  readonly statePath: string;
  readonly keysPath: string;
  /** Whether a node has completed its genesis here. */
  readonly hasFormat: boolean;
  /** Records that the folder is complete. */
  writeFormat(): void;
  release(): void;
}

/** Creates or opens a data folder and holds it until `release` or the end of the process. @throws StoreError */
export function openDataFolder(dataDir: string): DataFolder {
  const path = resolve(dataDir);
  return asStoreError(path, () => {
    makeFolder(path);
    // The format first: another release may lock in another way.
    const hasFormat = checkFormat(path);
    const release = lockFolder(path);
    const writeFormat = (): void => writeDurably(join(path, "format"), `${DATA_FORMAT}\n`);
    const statePath = join(path, "state");
    return { path, statePath, keysPath: join(path, "keys.json"), hasFormat, writeFormat, release };
  });
}

/**
 * Creates a folder and those above it. Level by level: where a level cannot be made although the one
 * above it exists (below /proc, say), Node's own recursion would try for ever.
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let level = path; !existsSync(level); level = dirname(level)) missing.push(level);
  for (const level of missing.reverse()) {
    try {
      mkdirSync(level, { mode: 0o700 });
    } catch (error) {
      // Another process may have been faster.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/** Writes a whole file so that a crash leaves the old one or the new one. */
export function writeDurably(path: string, content: string, mode = 0o644): void {
  const draft = `${path}.new`;
  const descriptor = openSync(draft, "w", mode);
  try {
    writeFileSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(draft, path);
  const folder = openSync(join(path, ".."), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Runs `action`; failures of disk and LMDB become StoreErrors about `path`. @throws StoreError */
export function asStoreError<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw storeErrorFrom(path, error);
  }
}

function storeErrorFrom(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof StoreError || error.name === "AssertionError")
    return error;
  const code = (error as { code?: unknown }).code;
  const what = error.message;
  const cause = { cause: error };
  if (
    (/input\/output error/i.test(what) && isDiskFull(path)) ||
    code === "ENOSPC" ||
    code === 28 ||
    code === "EDQUOT" ||
    /no space left|disk.*full/i.test(what)
  ) {
    return new StoreError({ code: "store/disk-full", path }, cause);
  }
  if (
    code === "EROFS" ||
    code === "EACCES" ||
    code === "EPERM" ||
    /read-?only|permission denied/i.test(what)
  ) {
    return new StoreError({ code: "store/not-writable", path, what }, cause);
  }
  if (/MDB_(CORRUPTED|INVALID|PAGE_NOTFOUND|PANIC|VERSION_MISMATCH|BAD_\w+)/.test(what)) {
    return new StoreError({ code: "store/damaged", path, what }, cause);
  }
  return new StoreError({ code: "store/failed", path, what }, cause);
}

/** LMDB reports a write that found too little room as an input/output error. */
function isDiskFull(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize < FREE_BYTES_MIN;
  } catch {
    return false;
  }
}

/** What one commit may well need. */
const FREE_BYTES_MIN = 4 * MIB;

function checkFormat(path: string): boolean {
  let found: string;
  try {
    found = readFileSync(join(path, "format"), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  if (found === DATA_FORMAT) return true;
  if (/^gyrotron data \d{1,9}$/.test(found)) {
    throw new StoreError({ code: "store/other-version", path, found, expected: DATA_FORMAT });
  }
  throw new StoreError({
    code: "store/damaged",
    path: join(path, "format"),
    what: "not a format line",
  });
}

/**
 * Holds the folder by an exclusive transaction on an otherwise empty SQLite file: the operating
 * system drops its lock when the process dies in whatever way, which a file with a process id cannot.
 */
function lockFolder(path: string): () => void {
  const file = join(path, "lock");
  const holderFile = join(path, "lock.pid");
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { errcode?: unknown }).errcode !== SQLITE_BUSY) throw error;
    throw new StoreError(
      { code: "store/in-use", path, holder: readHolder(holderFile) },
      { cause: error },
    );
  }
  writeFileSync(holderFile, `${process.pid}\n`);
  return () => database.close();
}

const SQLITE_BUSY = 5;

function readHolder(file: string): string {
  try {
    return `process ${readFileSync(file, "utf8").trim().slice(0, 20)}`;
  } catch {
    return "another process";
  }
}
