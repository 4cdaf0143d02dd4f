// Adds a custom section to a finished module, for compilers that write the interface beside it.

import { concatBytes, encodeUleb128, utf8Bytes } from "gyrotron/base";

/** The module with a custom section at its end, named for instance `icp:public candid:service`. */
export function withMetadata(wasm: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const label = utf8Bytes(name);
  const body = concatBytes(encodeUleb128(label.length), label, content);
  return concatBytes(wasm, Uint8Array.of(0), encodeUleb128(body.length), body);
}
