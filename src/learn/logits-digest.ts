// The chain of hashes over all logits that a generation used (docs/spec/01-numerics.md section 13).

import { concatBytes, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";

/** A digest that grows with every position whose logits were used. */
export class LogitsDigest {
  #hash: Uint8Array = sha256(utf8Bytes("gyrotron logits 1\n"));

  add(position: number, logits: Float32Array): void {
    const place = new Uint8Array(4);
    new DataView(place.buffer).setUint32(0, position, true);
    const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
    this.#hash = sha256(concatBytes(this.#hash, place, bytes));
  }

  /** 32 bytes. */
  get value(): Uint8Array {
    return this.#hash;
  }
}
