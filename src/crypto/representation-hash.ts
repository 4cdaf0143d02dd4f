// Representation-independent hash of structured data (IC interface, "hash_of_map") and the domain
// separators that keep signatures over different things apart.

import { compareBytes, concatBytes, encodeSleb128, encodeUleb128, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";

/** Hashable values: naturals, integers (only negative ones differ), text, bytes, lists and maps. */
export type HashableValue =
  | bigint
  | string
  | Uint8Array
  | readonly HashableValue[]
  | ReadonlyMap<string, HashableValue>
  | { readonly [key: string]: HashableValue | undefined };

/** One length byte and text, put before whatever is signed or hashed. */
export function domainSeparator(text: string): Uint8Array {
  const bytes = utf8Bytes(text);
  return concatBytes(Uint8Array.of(bytes.length), bytes);
}

export const DOMAIN_REQUEST: Uint8Array = domainSeparator("ic-request");
export const DOMAIN_DELEGATION: Uint8Array = domainSeparator("ic-request-auth-delegation");
export const DOMAIN_RESPONSE: Uint8Array = domainSeparator("ic-response");
export const DOMAIN_STATE_ROOT: Uint8Array = domainSeparator("ic-state-root");
export const DOMAIN_SENDER_INFO: Uint8Array = domainSeparator("ic-sender-info");

/** SHA-256 over the sorted hashes of the fields; undefined fields count as absent. */
export function hashOfMap(
  map: ReadonlyMap<string, HashableValue> | { readonly [key: string]: HashableValue | undefined },
): Uint8Array {
  const entries = map instanceof Map ? [...map] : Object.entries(map);
  const fields: Uint8Array[] = [];
  for (const [key, value] of entries) {
    if (value !== undefined) fields.push(concatBytes(hashOfKey(key), hashOfValue(value)));
  }
  fields.sort(compareBytes);
  return sha256(...fields);
}

/** Hash of one value as it enters the hash of the map around it. */
export function hashOfValue(value: HashableValue): Uint8Array {
  if (value instanceof Uint8Array) return sha256(value);
  if (typeof value === "string") return sha256(utf8Bytes(value));
  if (typeof value === "bigint")
    return sha256(value >= 0n ? encodeUleb128(value) : encodeSleb128(value));
  if (isList(value)) return sha256(...value.map(hashOfValue));
  return hashOfMap(value);
}

/** Hashes of the first keys that this thread met: the interface has some thirty. */
const keyHashes = new Map<string, Uint8Array>();
const KEY_HASHES_MAX = 64;
const KEY_LENGTH_MAX = 32;

function hashOfKey(key: string): Uint8Array {
  const known = keyHashes.get(key);
  if (known !== undefined) return known;
  const hash = sha256(utf8Bytes(key));
  if (keyHashes.size < KEY_HASHES_MAX && key.length <= KEY_LENGTH_MAX) keyHashes.set(key, hash);
  return hash;
}

function isList(value: object): value is readonly HashableValue[] {
  return Array.isArray(value);
}
