// SHA-256 by OpenSSL. Apart from the other primitives, because whoever runs a model needs no curves.

import { createHash, hash } from "node:crypto";
import { type HashProvider, setHashProvider } from "gyrotron/hash";

const DIGEST_BYTES = 32;

/** By OpenSSL. */
export const opensslHashes: HashProvider = {
  sha256(bytes) {
    // A copy, because a Buffer may be a view of Node's shared pool.
    const digest = new Uint8Array(DIGEST_BYTES);
    digest.set(hash("sha256", bytes, "buffer"));
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
