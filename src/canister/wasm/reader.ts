// A bounds-checked cursor over the binary format: LEB128 of every width, names and counts.
import { utf8Text } from "gyrotron/base";
import { WasmError } from "./error.ts";
import { type ValueType, valueTypeFromByte } from "./module.ts";

/** Reads a slice of a module; offsets in errors count from the module's start. */
export class WasmReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  offset: number;

  constructor(bytes: Uint8Array, offset = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  malformed(what: string, offset: number = this.offset): WasmError {
    return new WasmError({ code: "canister/wasm-malformed", what, offset });
  }

  unsupported(what: string, offset: number = this.offset): WasmError {
    return new WasmError({ code: "canister/wasm-unsupported", what, offset });
  }

  u8(): number {
    if (this.offset >= this.end) throw this.malformed("unexpected end");
    return this.bytes[this.offset++]!;
  }

  /** Unsigned LEB128 of 32 bits, at most 5 bytes. */
  u32(): number {
    const start = this.offset;
    const first = this.bytes[start];
    if (first !== undefined && first < 0x80 && start < this.end) {
      this.offset = start + 1;
      return first;
    }
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw this.malformed("integer too large", start);
  }

  /** Unsigned LEB128 of 64 bits, clamped to a maximum below 2^53. */
  u64AtMost(max: number): number {
    const byte = this.bytes[this.offset];
    if (byte !== undefined && byte < 0x80 && this.offset < this.end) return this.u8();
    const value = this.u64();
    return value > BigInt(max) ? max : Number(value);
  }

  /** Signed LEB128 of 32 bits. */
  s32(): number {
    const start = this.offset;
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value << (25 - shift)) >> (25 - shift);
    }
    const last = this.u8();
    // Of the fifth byte four bits count; the others repeat the sign.
    if (last < 0x08 || (last >= 0x78 && last < 0x80)) return value | (last << 28);
    throw this.malformed("integer too large", start);
  }

  /** Signed LEB128 of 33 bits, as block types are written. */
  s33(): number {
    return Number(this.#signed(33));
  }

  /** Signed LEB128 of 64 bits. */
  s64(): bigint {
    return this.#signed(64);
  }

  /** Unsigned LEB128 of 64 bits, at most 10 bytes. */
  u64(): bigint {
    const start = this.offset;
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.u8();
      if (shift === 63n && byte > 1) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw this.malformed("integer too large", start);
  }

  /** Passes over an integer of at most 64 bits. */
  skip64(): void {
    const start = this.offset;
    for (let left = 10; left > 0; left--) if (this.u8() < 0x80) return;
    throw this.malformed("integer too large", start);
  }

  skip(length: number): void {
    if (length > this.end - this.offset) throw this.malformed("unexpected end");
    this.offset += length;
  }

  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array {
    const start = this.offset;
    this.skip(length);
    return this.bytes.subarray(start, start + length);
  }

  /** A reader of the next `length` bytes, which this one skips. */
  sub(length: number): WasmReader {
    const start = this.offset;
    this.skip(length);
    return new WasmReader(this.bytes, start, start + length);
  }

  /** A count of items of at least one byte each. */
  count(): number {
    const start = this.offset;
    const count = this.u32();
    if (count > this.end - this.offset) throw this.malformed("count past the end", start);
    return count;
  }

  name(): string {
    const start = this.offset;
    const text = utf8Text(this.take(this.u32()));
    if (text === undefined) throw this.malformed("name is not UTF-8", start);
    return text;
  }

  /** A number, vector or plain reference type. */
  valueType(): ValueType {
    const start = this.offset;
    const byte = this.u8();
    const type = valueTypeFromByte(byte);
    if (type === undefined) throw this.unsupported(`value type 0x${byte.toString(16)}`, start);
    return type;
  }

  referenceType(): "funcref" | "externref" {
    const start = this.offset;
    const type = this.valueType();
    if (type !== "funcref" && type !== "externref")
      throw this.malformed("reference type expected", start);
    return type;
  }

  #signed(bits: number): bigint {
    const start = this.offset;
    let small = 0;
    let large = 0n;
    for (let shift = 0; shift < bits; shift += 7) {
      const byte = this.u8();
      const low = byte & 0x7f;
      if (shift < 28) small |= low << shift;
      else large |= BigInt(low) << BigInt(shift);
      if (byte >= 0x80) continue;
      if (shift < 21) return BigInt((small << (25 - shift)) >> (25 - shift));
      const value = BigInt.asIntN(Math.min(shift + 7, 70), BigInt(small >>> 0) | large);
      if (BigInt.asIntN(bits, value) !== value) break;
      return value;
    }
    throw this.malformed("integer too large", start);
  }
}
