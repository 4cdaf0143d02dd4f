// Principals: the bytes that name users, canisters and subnets, and their text form.
// A principal is a plain byte string of at most 29 bytes everywhere in this program; classes of
// principals are told apart by the last byte.

import {
  assert,
  compareBytes,
  concatBytes,
  PRINCIPAL_BYTES_MAX,
  readU64BigEndian,
  u32BigEndian,
  u64BigEndian,
} from "gyrotron/base";
import { CryptoError } from "./error.ts";
import { sha224 } from "gyrotron/hash";

/** The management canister, `aaaaa-aa`: no bytes at all. */
export const MANAGEMENT_CANISTER: Uint8Array = new Uint8Array(0);
/** The anonymous user, `2vxsx-fae`. */
export const ANONYMOUS_PRINCIPAL: Uint8Array = Uint8Array.of(4);

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const OPAQUE = 1;
const SELF_AUTHENTICATING = 2;
/** 33 bytes in base32, plus a dash after every fifth character. */
const TEXT_CHARACTERS_MAX = 63;

/** Text form: base32 of CRC-32 and bytes, in groups of five. */
export function formatPrincipal(principal: Uint8Array): string {
  assert(principal.length <= PRINCIPAL_BYTES_MAX, "a principal has at most 29 bytes");
  const letters = base32(concatBytes(u32BigEndian(crc32(principal)), principal));
  return letters.replace(/.{5}(?=.)/g, "$&-");
}

/** Bytes of a principal's text. @throws CryptoError `crypto/principal` unless it is exactly the form that formatPrincipal gives */
export function parsePrincipal(text: string): Uint8Array {
  const principal = decodeText(text);
  if (principal === undefined || formatPrincipal(principal) !== text) {
    throw new CryptoError({
      code: "crypto/principal",
      reason: "not a principal",
      text: text.slice(0, 80),
    });
  }
  return principal;
}

/** Bytes of a principal's text, or undefined. */
export function parsePrincipalOrUndefined(text: string): Uint8Array | undefined {
  const principal = decodeText(text);
  return principal !== undefined && formatPrincipal(principal) === text ? principal : undefined;
}

/** The principal of the holder of a key, from its DER encoding. */
export function selfAuthenticating(publicKeyDer: Uint8Array): Uint8Array {
  return concatBytes(sha224(publicKeyDer), Uint8Array.of(SELF_AUTHENTICATING));
}

/** The canister id that has this number. */
export function canisterIdFromU64(index: bigint): Uint8Array {
  return concatBytes(u64BigEndian(index), Uint8Array.of(1, OPAQUE));
}

/** The number of a canister id, or undefined if the principal is not of that form. */
export function canisterIdToU64(principal: Uint8Array): bigint | undefined {
  const hasForm = principal.length === 10 && principal[8] === 1 && principal[9] === OPAQUE;
  return hasForm ? readU64BigEndian(principal) : undefined;
}

/** Whether it is the anonymous user. */
export function isAnonymous(principal: Uint8Array): boolean {
  return principal.length === 1 && principal[0] === 4;
}

/** Whether it is the management canister. */
export function isManagementCanister(principal: Uint8Array): boolean {
  return principal.length === 0;
}

/** Whether the principal is derived from a public key. */
export function isSelfAuthenticating(principal: Uint8Array): boolean {
  return principal.length === PRINCIPAL_BYTES_MAX && principal[28] === SELF_AUTHENTICATING;
}

/** Order of principals: by bytes. */
export function comparePrincipals(left: Uint8Array, right: Uint8Array): number {
  return compareBytes(left, right);
}

function decodeText(text: string): Uint8Array | undefined {
  if (text.length > TEXT_CHARACTERS_MAX) return undefined;
  const bytes = unbase32(text.replaceAll("-", ""));
  if (bytes === undefined || bytes.length < 4 || bytes.length > 4 + PRINCIPAL_BYTES_MAX)
    return undefined;
  return bytes.slice(4);
}

function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let bitCount = 0;
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    bitCount += 8;
    while (bitCount >= 5) {
      bitCount -= 5;
      text += ALPHABET[(bits >> bitCount) & 31]!;
    }
    bits &= (1 << bitCount) - 1;
  }
  return bitCount === 0 ? text : text + ALPHABET[(bits << (5 - bitCount)) & 31]!;
}

function unbase32(text: string): Uint8Array | undefined {
  const bytes: number[] = [];
  let bits = 0;
  let bitCount = 0;
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) return undefined;
    bits = (bits << 5) | digit;
    bitCount += 5;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes.push((bits >> bitCount) & 255);
    bits &= (1 << bitCount) - 1;
  }
  return Uint8Array.from(bytes);
}

const CRC_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++)
    value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1;
  return value;
});

/** CRC-32 as in IEEE 802.3. */
export function crc32(bytes: Uint8Array): number {
  let value = 0xffff_ffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255]! ^ (value >>> 8);
  return (value ^ 0xffff_ffff) >>> 0;
}
