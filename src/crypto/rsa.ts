// RSA signatures, PKCS #1 version 1.5 over SHA-256 (RFC 8017, section 8.2.2), which some WebAuthn
// authenticators make. Verification is one power of a public number: this code decides on every
// node, without a provider, so that no library's leniency about padding matters.

import { concatBytes, equalBytes, parseHex, present } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";

/** A public RSA key. */
export interface RsaKey {
  readonly scheme: "rsa-sha256";
  readonly modulus: bigint;
  readonly exponent: bigint;
}

/** Bits that a modulus has, as on the ICP. */
export const RSA_BITS_MIN = 2048;
export const RSA_BITS_MAX = 8192;
/** Exponents in use are 3 and 65537; long ones only cost time. */
const EXPONENT_END = 1n << 33n;
/** DER of DigestInfo for SHA-256, up to the digest. */
const DIGEST_INFO = present(parseHex("3031300d060960864801650304020105000420"));
const PADDING_BYTES_MIN = 8;

/** An RSA key from big-endian integers, or undefined if its size or its exponent is out of range. */
export function rsaKeyFrom(
  modulusBytes: Uint8Array,
  exponentBytes: Uint8Array,
): RsaKey | undefined {
  if (modulusBytes.length > RSA_BITS_MAX / 8 || exponentBytes.length > 8) return undefined;
  const [modulus, exponent] = [bigEndian(modulusBytes), bigEndian(exponentBytes)];
  const isSized = modulus >> BigInt(RSA_BITS_MIN - 1) > 0n && (modulus & 1n) === 1n;
  const isExponent = exponent >= 3n && (exponent & 1n) === 1n && exponent < EXPONENT_END;
  return isSized && isExponent ? { scheme: "rsa-sha256", modulus, exponent } : undefined;
}

/** Whether `signature`, exactly as long as the modulus, is one by `key` over `message`. */
export function verifyRsaSha256(key: RsaKey, message: Uint8Array, signature: Uint8Array): boolean {
  const { modulus, exponent } = key;
  const length = Math.ceil(modulus.toString(16).length / 2);
  if (signature.length !== length) return false;
  const value = bigEndian(signature);
  if (value >= modulus) return false;
  const opened = power(value, exponent, modulus)
    .toString(16)
    .padStart(2 * length, "0");
  const tail = concatBytes(DIGEST_INFO, sha256(message));
  const paddingBytes = length - 3 - tail.length;
  if (paddingBytes < PADDING_BYTES_MIN) return false;
  const padding = new Uint8Array(paddingBytes).fill(0xff);
  const expected = concatBytes(Uint8Array.of(0, 1), padding, Uint8Array.of(0), tail);
  return equalBytes(present(parseHex(opened)), expected);
}

/** base^exponent mod modulus, in variable time: nothing here is secret. */
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function bigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toHex()}`);
}
