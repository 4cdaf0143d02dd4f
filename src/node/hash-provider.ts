// SHA-256 by OpenSSL. Apart from the other primitives, because whoever runs a model needs no curves.

import { createHash, hash } from "node:crypto";
import { type HashProvider, setHashProvider } from "gyrotron/hash";

const DIGEST_BYTES = 32;

/** By OpenSSL. */
export const opensslHashes: HashProvider = {
  sha256(bytes) {
    // A string costs less than a Buffer, which matters for a tree of short messages.
    const text = hash("sha256", bytes, "latin1");
    const digest = new Uint8Array(DIGEST_BYTES);
    for (let i = 0; i < DIGEST_BYTES; i++) digest[i] = text.charCodeAt(i);
    return digest;
  },
  createSha256() {
    const running = createHash("sha256");
    return {
      update: (bytes) => void running.update(bytes),
      digest: () => Uint8Array.from(running.digest()),
    };
  },
};

/** Makes OpenSSL hash in this thread; needs no start. */
export function installNodeHashes(): void {
  setHashProvider(opensslHashes);
}
