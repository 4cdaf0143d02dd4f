// gzip decompression (RFC 1951 and 1952) of untrusted bytes, bounded in size and without the host:
// every node must agree on which uploads are damaged. One member, checksum and length verified.
import { WasmError } from "./error.ts";

/** Code lengths are written in this order. */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const CODE_BITS_MAX = 15;
const END_OF_BLOCK = 256;
/** Base and extra bits of lengths 257 to 285, and of distances 0 to 29. */
const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const LENGTH_EXTRA = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
  3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_EXTRA = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];

/** The decompressed bytes. @throws WasmError `canister/wasm-compression` if damaged or too large */
export function gunzip(compressed: Uint8Array, sizeMax: number): Uint8Array {
  return new Inflater(compressed, sizeMax).run();
}

/** A canonical Huffman code: how many codes each length has, and the symbols in code order. */
interface Huffman {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

class Inflater {
  readonly #input: Uint8Array;
  readonly #sizeMax: number;
  #offset = 0;
  #bits = 0;
  #bitCount = 0;
  #output = new Uint8Array(64 * 1024);
  #size = 0;

  constructor(input: Uint8Array, sizeMax: number) {
    this.#input = input;
    this.#sizeMax = sizeMax;
  }

  run(): Uint8Array {
    this.#skipHeader();
    for (let last = false; !last;) {
      last = this.#take(1) === 1;
      const kind = this.#take(2);
      if (kind === 0) this.#stored();
      else if (kind === 1) this.#compressed(FIXED_LENGTHS, FIXED_DISTANCES);
      else if (kind === 2) this.#dynamic();
      else throw damaged("unknown block type");
    }
    const output = this.#output.slice(0, this.#size);
    this.#bitCount = 0;
    const checksum = this.#word();
    if (checksum !== crc32(output)) throw damaged("wrong checksum");
    if (this.#word() !== this.#size) throw damaged("wrong length");
    if (this.#offset !== this.#input.length) throw damaged("trailing bytes");
    return output;
  }

  #skipHeader(): void {
    const [id1, id2, method, flags] = [this.#byte(), this.#byte(), this.#byte(), this.#byte()];
    if (id1 !== 0x1f || id2 !== 0x8b || method !== 8) throw damaged("not gzip");
    if ((flags & 0xe0) !== 0) throw damaged("unknown header flags");
    this.#offset += 6;
    if ((flags & 4) !== 0) this.#offset += this.#byte() + 256 * this.#byte();
    for (const flag of [8, 16]) {
      if ((flags & flag) === 0) continue;
      while (this.#byte() !== 0) continue;
    }
    if ((flags & 2) !== 0) this.#offset += 2;
  }

  #byte(): number {
    if (this.#offset >= this.#input.length) throw damaged("unexpected end");
    return this.#input[this.#offset++]!;
  }

  #word(): number {
    return this.#byte() + 2 ** 8 * this.#byte() + 2 ** 16 * this.#byte() + 2 ** 24 * this.#byte();
  }

  #take(count: number): number {
    while (this.#bitCount < count) {
      this.#bits |= this.#byte() << this.#bitCount;
      this.#bitCount += 8;
    }
    const value = this.#bits & ((1 << count) - 1);
    this.#bits >>>= count;
    this.#bitCount -= count;
    return value;
  }

  #reserve(more: number): void {
    const needed = this.#size + more;
    if (needed > this.#sizeMax) throw damaged(`larger than ${this.#sizeMax} bytes`);
    if (needed <= this.#output.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#output.length * 2));
    grown.set(this.#output.subarray(0, this.#size));
    this.#output = grown;
  }

  #stored(): void {
    this.#bits = 0;
    this.#bitCount = 0;
    const length = this.#byte() + 256 * this.#byte();
    const complement = this.#byte() + 256 * this.#byte();
    if (length !== (~complement & 0xffff)) throw damaged("wrong length of a stored block");
    if (length > this.#input.length - this.#offset) throw damaged("unexpected end");
    this.#reserve(length);
    this.#output.set(this.#input.subarray(this.#offset, this.#offset + length), this.#size);
    this.#offset += length;
    this.#size += length;
  }

  #dynamic(): void {
    const lengthCount = this.#take(5) + 257;
    const distanceCount = this.#take(5) + 1;
    const codeCount = this.#take(4) + 4;
    if (lengthCount > 286 || distanceCount > 30) throw damaged("too many codes");
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < codeCount; i++) codeLengths[LENGTH_ORDER[i]!] = this.#take(3);
    const code = huffman(codeLengths);
    const lengths = new Uint8Array(lengthCount + distanceCount);
    for (let i = 0; i < lengths.length;) {
      const symbol = this.#decode(code);
      if (symbol < 16) {
        lengths[i++] = symbol;
        continue;
      }
      if (symbol === 16 && i === 0) throw damaged("nothing to repeat");
      const value = symbol === 16 ? lengths[i - 1]! : 0;
      const count =
        symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      if (i + count > lengths.length) throw damaged("too many code lengths");
      lengths.fill(value, i, i + count);
      i += count;
    }
    if (lengths[END_OF_BLOCK] === 0) throw damaged("no end of block");
    this.#compressed(
      huffman(lengths.subarray(0, lengthCount)),
      huffman(lengths.subarray(lengthCount)),
    );
  }

  #compressed(lengths: Huffman, distances: Huffman): void {
    for (;;) {
      const symbol = this.#decode(lengths);
      if (symbol === END_OF_BLOCK) return;
      if (symbol < END_OF_BLOCK) {
        this.#reserve(1);
        this.#output[this.#size++] = symbol;
        continue;
      }
      const at = symbol - 257;
      if (at >= LENGTH_BASE.length) throw damaged("unknown length");
      const length = LENGTH_BASE[at]! + this.#take(LENGTH_EXTRA[at]!);
      const far = this.#decode(distances);
      if (far >= DISTANCE_BASE.length) throw damaged("unknown distance");
      const distance = DISTANCE_BASE[far]! + this.#take(DISTANCE_EXTRA[far]!);
      if (distance > this.#size) throw damaged("distance before the start");
      this.#reserve(length);
      const output = this.#output;
      // Source and target may overlap, so that a short distance repeats.
      for (let i = 0; i < length; i++) output[this.#size + i] = output[this.#size + i - distance]!;
      this.#size += length;
    }
  }

  /** Reads bits until they are a code: codes of one length are consecutive numbers. */
  #decode({ counts, symbols }: Huffman): number {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= CODE_BITS_MAX; length++) {
      code |= this.#take(1);
      const count = counts[length]!;
      if (code - first < count) return symbols[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw damaged("unknown code");
  }
}

/** The code of these lengths; incomplete only if it has a single symbol, as zlib demands. */
function huffman(lengths: Uint8Array): Huffman {
  const counts = new Uint16Array(CODE_BITS_MAX + 1);
  for (const length of lengths) counts[length]!++;
  const used = lengths.length - counts[0]!;
  counts[0] = 0;
  let left = 1;
  for (let length = 1; length <= CODE_BITS_MAX; length++) {
    left = left * 2 - counts[length]!;
    if (left < 0) throw damaged("over-subscribed code");
  }
  if (left > 0 && used > 1) throw damaged("incomplete code");
  const offsets = new Uint16Array(CODE_BITS_MAX + 2);
  for (let length = 1; length <= CODE_BITS_MAX; length++) {
    offsets[length + 1] = offsets[length]! + counts[length]!;
  }
  const symbols = new Uint16Array(used);
  lengths.forEach((length, symbol) => {
    if (length > 0) symbols[offsets[length]!++] = symbol;
  });
  return { counts, symbols };
}

const FIXED_LENGTHS: Huffman = huffman(
  Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
);
const FIXED_DISTANCES: Huffman = huffman(new Uint8Array(32).fill(5));

const CRC_TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++)
    value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ 0xedb88320;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let value = -1;
  for (let i = 0; i < bytes.length; i++) {
    value = (value >>> 8) ^ CRC_TABLE[(value ^ bytes[i]!) & 0xff]!;
  }
  return ~value >>> 0;
}

function damaged(what: string): WasmError {
  return new WasmError({ code: "canister/wasm-compression", what: `gzip: ${what}` });
}
