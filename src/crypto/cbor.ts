// CBOR as the IC interface uses it, over cborg's tokens: maps with text keys, arrays, bytes, text,
// integers. Encoding is deterministic (map keys sorted by length, then bytes); decoding is total,
// bounded in depth, and refuses floats, `undefined`, duplicate keys and indefinite strings.

import { encode, type Token, Tokenizer, Type } from "cborg";
import { assert, concatBytes, DecodeError, utf8Text } from "gyrotron/base";

/** A decoded value; every integer is a bigint, every map has text keys in the order of the input. */
export type CborValue = bigint | boolean | null | string | Uint8Array | CborValue[] | CborMap;
/** A decoded map. */
export type CborMap = Map<string, CborValue>;

/** What can be encoded: numbers must be safe integers, bigints 64 bits; absent fields are left out. */
export type CborInput =
  | bigint
  | number
  | boolean
  | null
  | string
  | Uint8Array
  | readonly CborInput[]
  | ReadonlyMap<number | string, CborInput>
  | { readonly [key: string]: CborInput | undefined };

/** Bounds on what is decoded. */
export interface CborLimits {
  /** How deep arrays and maps may nest. */
  depthMax?: number;
  /** Longest input in bytes; the caller's transport usually has its own limit already. */
  bytesMax?: number;
  /** How many items (also keys and tags) there may be: empty arrays cost far more than their byte. */
  itemsMax?: number;
}

/** Nesting that requests and replies need is below 8; hash trees are decoded with their own limit. */
export const CBOR_DEPTH_MAX = 32;
const CBOR_BYTES_MAX = 16 * 1024 * 1024;
/** The largest legal request reads 1000 paths of 127 labels. */
const CBOR_ITEMS_MAX = 200_000;
const SELF_DESCRIBED = Uint8Array.of(0xd9, 0xd9, 0xf7);
const SELF_DESCRIBED_TAG = 55_799;
/** A bignum tag may carry leading zeros; more than this is refused before it is read as a number. */
const BIGNUM_BYTES_MAX = 64;

/** Deterministic CBOR, without a tag. */
export function encodeCbor(value: CborInput): Uint8Array {
  return encode(value, { ignoreUndefinedProperties: true });
}

/** Deterministic CBOR behind the self-describing tag 55799. */
export function encodeSelfDescribedCbor(value: CborInput): Uint8Array {
  return concatBytes(SELF_DESCRIBED, encodeCbor(value));
}

/** The one value that `bytes` hold, tagged as self-describing or not. @throws DecodeError `cbor/decode` */
export function decodeCbor(bytes: Uint8Array, limits: CborLimits = {}): CborValue {
  const {
    depthMax = CBOR_DEPTH_MAX,
    bytesMax = CBOR_BYTES_MAX,
    itemsMax = CBOR_ITEMS_MAX,
  } = limits;
  assert(depthMax <= 600, "deeper nesting could exhaust the stack");
  if (bytes.length > bytesMax) throw decodeError(`more than ${bytesMax} bytes`, 0);
  const reader = new CborReader(bytes, depthMax, itemsMax);
  const value = reader.document();
  if (!reader.done()) throw decodeError("trailing bytes", reader.offset());
  return value;
}

/** Builds values from tokens; owns every check that cborg leaves to its caller. */
class CborReader {
  readonly #bytes: Uint8Array;
  readonly #tokens: Tokenizer;
  readonly #depthMax: number;
  #itemsLeft: number;

  constructor(bytes: Uint8Array, depthMax: number, itemsMax: number) {
    this.#bytes = bytes;
    this.#tokens = new Tokenizer(bytes, {
      allowIndefinite: true,
      allowUndefined: false,
      allowBigInt: true,
    });
    this.#depthMax = depthMax;
    this.#itemsLeft = itemsMax;
  }

  done(): boolean {
    return this.#tokens.done();
  }

  offset(): number {
    return this.#tokens.pos();
  }

  document(): CborValue {
    const token = this.#next();
    const isTagged = token.type === Type.tag && token.value === SELF_DESCRIBED_TAG;
    return this.#value(isTagged ? this.#next() : token, 0);
  }

  #next(): Token {
    const offset = this.offset();
    if (this.done()) throw decodeError("input ends early", offset);
    if (this.#itemsLeft === 0) throw decodeError("too many items", offset);
    this.#itemsLeft--;
    try {
      return this.#tokens.next();
    } catch (cause) {
      throw decodeError("malformed item", offset, cause);
    }
  }

  #value(token: Token, depth: number): CborValue {
    const type = token.type;
    if (type === Type.bytes || type === Type.true || type === Type.false || type === Type.null)
      return token.value;
    if (type === Type.uint || type === Type.negint) return BigInt(token.value);
    if (type === Type.string) return this.#text(token);
    if (type === Type.array) return this.#array(token, depth);
    if (type === Type.map) return this.#map(token, depth);
    if (type === Type.tag) return this.#bignum(token);
    throw this.#refused(token, `${type.name} is not allowed here`);
  }

  /** cborg replaces invalid UTF-8, so text is read again, strictly. */
  #text(token: Token): string {
    const end = this.offset();
    const start = end - encodedLength(token);
    const header = headerLength(this.#bytes[start]!);
    const text = utf8Text(this.#bytes.subarray(start + header, end));
    if (text === undefined) throw decodeError("text is not UTF-8", start);
    return text;
  }

  #array(token: Token, depth: number): CborValue[] {
    const count = this.#count(token, 1, depth);
    const items: CborValue[] = [];
    while (items.length < count) {
      const item = this.#next();
      if (item.type === Type.break && count === Infinity) break;
      items.push(this.#value(item, depth + 1));
    }
    return items;
  }

  #map(token: Token, depth: number): CborMap {
    const count = this.#count(token, 2, depth);
    const map: CborMap = new Map();
    while (map.size < count) {
      const key = this.#next();
      if (key.type === Type.break && count === Infinity) break;
      if (key.type !== Type.string) throw this.#refused(key, "map key is not text");
      const name = this.#text(key);
      if (map.has(name)) throw this.#refused(key, "duplicate map key");
      map.set(name, this.#value(this.#next(), depth + 1));
    }
    return map;
  }

  /** Number of entries, checked against the bytes that are left; Infinity for indefinite length. */
  #count(token: Token, itemBytesMin: number, depth: number): number {
    if (depth >= this.#depthMax) throw this.#refused(token, `nested deeper than ${this.#depthMax}`);
    const count = Number(token.value);
    const isTooLong =
      count !== Infinity && count * itemBytesMin > this.#bytes.length - this.offset();
    if (isTooLong) throw this.#refused(token, "more entries than bytes");
    return count;
  }

  #bignum(token: Token): bigint {
    if (token.value !== 2) throw this.#refused(token, `tag ${token.value} is not allowed here`);
    const content = this.#next();
    if (content.type !== Type.bytes) throw this.#refused(content, "bignum is not a byte string");
    const bytes: Uint8Array = content.value;
    if (bytes.length > BIGNUM_BYTES_MAX) throw this.#refused(content, "bignum is too long");
    return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toHex()}`);
  }

  #refused(token: Token, what: string): DecodeError {
    return decodeError(what, this.offset() - encodedLength(token));
  }
}

function encodedLength(token: Token): number {
  return token.encodedLength ?? 0;
}

/** Bytes of an item's head, from its first byte. */
function headerLength(first: number): number {
  const minor = first & 31;
  return minor < 24 ? 1 : 1 + 2 ** (minor - 24);
}

function decodeError(what: string, offset: number, cause?: unknown): DecodeError {
  return new DecodeError(
    { code: "cbor/decode", what, offset },
    cause === undefined ? undefined : { cause },
  );
}
