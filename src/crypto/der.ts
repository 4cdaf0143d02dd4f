// The little of DER that keys and signatures need: one element at a time, with the one length form
// that DER allows. Owns no meaning of any element.

/** One element: its tag, its content, and what follows it. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly rest: Uint8Array;
}

export const DER_INTEGER = 0x02;
export const DER_BIT_STRING = 0x03;
export const DER_SEQUENCE = 0x30;

/** The first element of `bytes`, or undefined unless it is whole and its length (below 64 KiB) is minimal. */
export function readDer(bytes: Uint8Array): DerElement | undefined {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined) return undefined;
  let start = 2;
  let length = first;
  if (first >= 0x80) {
    const lengthBytes = first - 0x80;
    if (lengthBytes < 1 || lengthBytes > 2 || bytes.length < 2 + lengthBytes) return undefined;
    start += lengthBytes;
    length = lengthBytes === 1 ? bytes[2]! : bytes[2]! * 256 + bytes[3]!;
    if (length < (lengthBytes === 1 ? 0x80 : 0x100)) return undefined;
  }
  if (bytes.length - start < length) return undefined;
  const end = start + length;
  return { tag, content: bytes.subarray(start, end), rest: bytes.subarray(end) };
}

/** Content of the only element of `bytes`, which must have this tag. */
export function onlyDer(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  const element = readDer(bytes);
  return element?.tag === tag && element.rest.length === 0 ? element.content : undefined;
}

/**
 * r·s (64 bytes) of an ECDSA signature in DER over a curve of 256 bits, or undefined if it is not DER:
 * integers are minimal, positive and fit.
 */
export function ecdsaFromDer(signature: Uint8Array): Uint8Array | undefined {
  const sequence = onlyDer(signature, DER_SEQUENCE);
  const r = sequence === undefined ? undefined : readDer(sequence);
  const s = r === undefined ? undefined : readDer(r.rest);
  if (r === undefined || s === undefined || s.rest.length > 0) return undefined;
  const compact = new Uint8Array(64);
  for (const [index, { tag, content }] of [r, s].entries()) {
    const bytes = tag === DER_INTEGER ? unsigned(content) : undefined;
    if (bytes === undefined || bytes.length > 32) return undefined;
    compact.set(bytes, 32 * (index + 1) - bytes.length);
  }
  return compact;
}

/** Bytes of a positive integer without the zero that keeps its sign. */
function unsigned(content: Uint8Array): Uint8Array | undefined {
  const [first, second = 0] = content;
  if (first === undefined || first >= 0x80) return undefined;
  if (first !== 0) return content;
  return content.length > 1 && second >= 0x80 ? content.subarray(1) : undefined;
}
