// Random access to a file's bytes, so that a model can be prepared while only a window of it is in memory.

import { assert } from "gyrotron/base";

/** A file that does not change while it is read. */
export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /** The bytes from `offset` on, which lie within the file. */
  read(offset: number, length: number): Uint8Array;
  /** Fills `target` with the bytes from `offset` on, which lie within the file. */
  readInto(offset: number, target: Uint8Array): void;
}

/** Bytes in memory as a source. */
export function byteSource(bytes: Uint8Array): ByteSource {
  const read = (offset: number, length: number): Uint8Array => {
    assert(offset >= 0 && length >= 0 && offset + length <= bytes.length, "read past the end");
    return bytes.subarray(offset, offset + length);
  };
  return {
    size: bytes.length,
    read,
    readInto: (offset, target) => target.set(read(offset, target.length)),
  };
}
