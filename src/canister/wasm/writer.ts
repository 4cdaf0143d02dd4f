// A growing buffer that writes the binary format: LEB128, names, sections.
import { assert, encodeSleb128, encodeUleb128, utf8Bytes } from "gyrotron/base";

/** Appends bytes; reusable after `clear`. */
export class WasmWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity);
  }

  clear(): void {
    this.length = 0;
  }

  u8(value: number): void {
    if (this.length === this.#bytes.length) this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  /** Each argument is one byte. */
  bytes(...values: number[]): void {
    for (const value of values) this.u8(value);
  }

  /** Two bytes. */
  pair(first: number, second: number): void {
    const at = this.length;
    if (at + 2 > this.#bytes.length) this.#reserve(2);
    this.#bytes[at] = first;
    this.#bytes[at + 1] = second;
    this.length = at + 2;
  }

  u32(value: number): void {
    assert(value >= 0 && value <= 0xffff_ffff, "u32 out of range");
    if (value < 0x80) return this.u8(value);
    this.#reserve(5);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  /** Signed LEB128 of an integer of at most 53 bits. */
  signed(value: number): void {
    if (value >= -0x40 && value < 0x40) return this.u8(value & 0x7f);
    assert(Number.isSafeInteger(value), "integer out of range");
    let rest = value;
    for (;;) {
      const low = ((rest % 128) + 128) % 128;
      rest = (rest - low) / 128;
      const done = (rest === 0 && low < 0x40) || (rest === -1 && low >= 0x40);
      this.u8(done ? low : low | 0x80);
      if (done) return;
    }
  }

  /** Signed LEB128 of any 64-bit integer. */
  signed64(value: bigint): void {
    this.raw(encodeSleb128(value));
  }

  u64(value: bigint): void {
    this.raw(encodeUleb128(value));
  }

  name(text: string): void {
    const bytes = utf8Bytes(text);
    this.u32(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Copies `bytes[start..end)`. */
  slice(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#reserve(length);
    const to = this.#bytes;
    const at = this.length;
    if (length > 64) to.set(bytes.subarray(start, end), at);
    else for (let i = 0; i < length; i++) to[at + i] = bytes[start + i]!;
    this.length = at + length;
  }

  /** A section with its size, unless its content, given in parts, is empty. */
  section(id: number, ...parts: readonly WasmWriter[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length === 0) return;
    this.u8(id);
    this.u32(length);
    for (const part of parts) this.raw(part.view());
  }

  /** The bytes written, valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
}
