// A file on disk as a source of bytes: read where asked, so that a model's file is never in memory whole.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { ByteSource } from "gyrotron/model";
import { NodeError } from "../node-error.ts";

/** Closes the files of sources that nobody holds any more. */
const closing = new FinalizationRegistry<number>((file) => closeSync(file));

/**
 * A file as a source. It stays open as long as the source lives, so that a model that runs may be removed from
 * the store. @throws NodeError `node/model` if it shrinks meanwhile
 */
export function openByteSource(path: string): ByteSource {
  const file = openSync(path, "r");
  const readInto = (offset: number, target: Uint8Array): void => {
    let done = 0;
    while (done < target.length) {
      const count = readSync(file, target, done, target.length - done, offset + done);
      if (count === 0)
        throw new NodeError({
          code: "node/model",
          path,
          reason: "the file was cut off while it was read",
        });
      done += count;
    }
  };
  const source: ByteSource = {
    size: fstatSync(file).size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      readInto(offset, bytes);
      return bytes;
    },
    readInto,
  };
  // Both functions of the source hold this one.
  closing.register(readInto, file);
  return source;
}
