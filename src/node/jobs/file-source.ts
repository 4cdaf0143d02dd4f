// A file on disk as a source of bytes: read where asked, so that a model's file is never in memory whole.

import { closeSync, openSync, readSync, statSync } from "node:fs";
import type { ByteSource } from "gyrotron/model";
import { NodeError } from "../node-error.ts";

/** A file as a source; each read opens it anew. @throws NodeError `node/model` if it shrinks meanwhile */
export function openByteSource(path: string): ByteSource {
  return {
    size: statSync(path).size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      const file = openSync(path, "r");
      try {
        let done = 0;
        while (done < length) {
          const count = readSync(file, bytes, done, length - done, offset + done);
          if (count === 0)
            throw new NodeError({
              code: "node/model",
              path,
              reason: "the file was cut off while it was read",
            });
          done += count;
        }
      } finally {
        closeSync(file);
      }
      return bytes;
    },
  };
}
