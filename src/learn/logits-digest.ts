// The chain of hashes over all logits that a generation used (docs/spec/01-numerics.md section 13).

import { utf8Bytes } from "gyrotron/base";
import { createSha256, sha256 } from "gyrotron/hash";

/** A digest that grows with every position whose logits were used. */
export class LogitsDigest {
  #hash: Uint8Array = sha256(utf8Bytes("gyrotron logits 1\n"));

  add(position: number, logits: Float32Array): void {
    const place = new Uint8Array(4);
    new DataView(place.buffer).setUint32(0, position, true);
    const hash = createSha256();
    hash.update(this.#hash);
    hash.update(place);
    hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
    this.#hash = hash.digest();
  }

  /** 32 bytes. */
  get value(): Uint8Array {
    return this.#hash;
  }
}
