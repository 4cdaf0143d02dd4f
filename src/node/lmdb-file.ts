// A look at an LMDB file before it is mapped: LMDB trusts what it maps, so a foreign or truncated
// file would kill the process with a signal instead of an error. Owns no reading of entries.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { StoreError } from "gyrotron/store";

/** Checks the file of the environment in `path`, if there is one. @throws StoreError `store/damaged` */
export function checkLmdbFile(path: string): void {
  const file = join(path, "data.mdb");
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    // No file yet: LMDB will create it. Anything else it will meet and report itself.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    checkPages(file, descriptor);
  } finally {
    closeSync(descriptor);
  }
}

// Layout of the two meta pages that begin the file, as of format version 2 with 24-byte page headers.
const META_BYTES = 0xa0;
const FLAGS_OFFSET = 0x12;
const META_FLAG = 8;
const MAGIC_OFFSET = 0x18;
const MAGIC = 0xbeefc0de;
const VERSION_OFFSET = 0x1c;
const VERSION = 2;
const PAGE_BYTES_OFFSET = 0x30;
const LAST_PAGE_OFFSET = 0x90;
const TRANSACTION_OFFSET = 0x98;

interface MetaPage {
  pageBytes: number;
  lastPage: number;
  transaction: bigint;
}

function checkPages(file: string, descriptor: number): void {
  const first = readMeta(file, descriptor, 0);
  const second = readMeta(file, descriptor, first.pageBytes);
  const newest = first.transaction > second.transaction ? first : second;
  const expected = (newest.lastPage + 1) * newest.pageBytes;
  const found = fstatSync(descriptor).size;
  if (found < expected) throw damaged(file, `${found} bytes where ${expected} belong`);
}

function readMeta(file: string, descriptor: number, position: number): MetaPage {
  const page = Buffer.alloc(META_BYTES);
  if (readSync(descriptor, page, 0, META_BYTES, position) < META_BYTES)
    throw damaged(file, "too short");
  const isMeta =
    page.readUInt16LE(FLAGS_OFFSET) === META_FLAG &&
    page.readUInt32LE(MAGIC_OFFSET) === MAGIC &&
    page.readUInt32LE(VERSION_OFFSET) === VERSION;
  const pageBytes = page.readUInt32LE(PAGE_BYTES_OFFSET);
  const isPageSize = pageBytes >= 512 && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0;
  if (!isMeta || !isPageSize) throw damaged(file, `no meta page at byte ${position}`);
  const lastPage = Number(page.readBigUInt64LE(LAST_PAGE_OFFSET));
  return { pageBytes, lastPage, transaction: page.readBigUInt64LE(TRANSACTION_OFFSET) };
}

function damaged(path: string, what: string): StoreError {
  return new StoreError({ code: "store/damaged", path, what });
}
