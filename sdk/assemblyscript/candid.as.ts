// As much Candid as programs that compute need: bool, text, the integers, float64, and vectors of
// bytes, of nat64 and of float64. No records, variants or options: take argumentBytes() for those.
// nat and int are limited to 64 bits here. What does not fit the argument traps with a text.

import { argumentBytes, replyBytes, trap } from "./canister.as";

// Type codes of the Candid specification: signed LEB128 numbers of one byte, as they are sent.
const BOOL: u8 = 0x7e, NAT: u8 = 0x7d, INT: u8 = 0x7c, NAT8: u8 = 0x7b, NAT32: u8 = 0x79, NAT64: u8 = 0x78;
const INT32: u8 = 0x75, INT64: u8 = 0x74, FLOAT64: u8 = 0x72, TEXT: u8 = 0x71, VEC: u8 = 0x6d;

/** Reads a message's argument, value after value in their order. */
export class Arguments {
  private at: i32 = 0;
  private next: i32 = 0;
  /** Element types of the vectors in the type table. */
  private vectors: u8[] = [];
  /** Type of each value: a code, or a position in the table. */
  private types: i32[] = [];

  constructor(private bytes: Uint8Array = argumentBytes()) {
    if (bytes.length < 4 || load<u32>(bytes.dataStart) != 0x4c444944) trap("the argument is not Candid");
    this.at = 4;
    const entries = this.count();
    for (let i: u32 = 0; i < entries; i++) {
      if (this.byte() != VEC) trap("the argument has a type that is not read here");
      this.vectors.push(this.byte());
    }
    const values = this.count();
    for (let i: u32 = 0; i < values; i++) {
      const type = this.byte();
      this.types.push(type);
    }
  }

  /** Values not yet read. */
  get left(): i32 { return this.types.length - this.next; }

  bool(): bool { this.expect(BOOL); return this.byte() != 0; }
  nat(): u64 { this.expect(NAT); return this.unsigned(); }
  int(): i64 {
    // A nat is an int too.
    if (this.peek() == NAT) { this.next++; return this.unsigned() as i64; }
    this.expect(INT);
    return this.signed();
  }
  nat32(): u32 { this.expect(NAT32); return load<u32>(this.take(4)); }
  nat64(): u64 { this.expect(NAT64); return load<u64>(this.take(8)); }
  int32(): i32 { this.expect(INT32); return load<i32>(this.take(4)); }
  int64(): i64 { this.expect(INT64); return load<i64>(this.take(8)); }
  float64(): f64 { this.expect(FLOAT64); return load<f64>(this.take(8)); }

  text(): string {
    this.expect(TEXT);
    const length = this.count();
    return String.UTF8.decodeUnsafe(this.take(length), length);
  }

  /** A blob, which is a vec nat8. */
  blob(): Uint8Array {
    const length = this.vector(NAT8);
    const result = new Uint8Array(length);
    memory.copy(result.dataStart, this.take(length), length);
    return result;
  }

  nat64s(): Uint64Array {
    const length = this.vector(NAT64);
    this.check((length as u64) * 8);
    const result = new Uint64Array(length);
    memory.copy(result.dataStart, this.take(length * 8), length * 8);
    return result;
  }

  float64s(): Float64Array {
    const length = this.vector(FLOAT64);
    this.check((length as u64) * 8);
    const result = new Float64Array(length);
    memory.copy(result.dataStart, this.take(length * 8), length * 8);
    return result;
  }

  private peek(): i32 {
    if (this.next >= this.types.length) trap("an argument is missing");
    return this.types[this.next];
  }

  private expect(type: u8): void {
    if (this.peek() != type) trap("argument " + (this.next + 1).toString() + " has another type");
    this.next++;
  }

  private vector(element: u8): u32 {
    const type = this.peek();
    if (type >= this.vectors.length || this.vectors[type] != element) {
      trap("argument " + (this.next + 1).toString() + " has another type");
    }
    this.next++;
    return this.count();
  }

  private check(length: u64): void {
    if (length > ((this.bytes.length - this.at) as u64)) trap("the argument ends early");
  }

  private take(length: u32): usize {
    this.check(length);
    const from = this.bytes.dataStart + this.at;
    this.at += length;
    return from;
  }

  private byte(): u8 { return load<u8>(this.take(1)); }

  /** A length: no value takes less than no byte, so what is larger than the argument is refused. */
  private count(): u32 {
    const value = this.unsigned();
    if (value > (this.bytes.length as u64)) trap("the argument ends early");
    return value as u32;
  }

  private unsigned(): u64 {
    let value: u64 = 0;
    let shift: u64 = 0;
    while (true) {
      const part = this.byte() as u64;
      if (shift > 63 || (shift == 63 && (part & 0x7e) != 0)) trap("a number has more than 64 bits");
      value |= (part & 0x7f) << shift;
      if (part < 0x80) return value;
      shift += 7;
    }
  }

  private signed(): i64 {
    let value: i64 = 0;
    let shift: i64 = 0;
    while (true) {
      const part = this.byte() as i64;
      if (shift > 63 || (shift == 63 && part != 0 && part != 0x7f)) trap("a number has more than 64 bits");
      value |= (part & 0x7f) << shift;
      if (part < 0x80) return shift < 57 && (part & 0x40) != 0 ? value | ((-1 as i64) << (shift + 7)) : value;
      shift += 7;
    }
  }
}

/** Builds a reply, value after value, and sends it: new Reply().nat(5).text("five").send(). */
export class Reply {
  private table: u8[] = [];
  private types: u8[] = [];
  private body: Bytes = new Bytes();

  bool(value: bool): Reply { this.types.push(BOOL); this.body.byte(value ? 1 : 0); return this; }
  nat(value: u64): Reply { this.types.push(NAT); this.body.unsigned(value); return this; }
  int(value: i64): Reply { this.types.push(INT); this.body.signed(value); return this; }
  nat32(value: u32): Reply { this.types.push(NAT32); store<u32>(this.body.room(4), value); return this; }
  nat64(value: u64): Reply { this.types.push(NAT64); store<u64>(this.body.room(8), value); return this; }
  int32(value: i32): Reply { this.types.push(INT32); store<i32>(this.body.room(4), value); return this; }
  int64(value: i64): Reply { this.types.push(INT64); store<i64>(this.body.room(8), value); return this; }
  float64(value: f64): Reply { this.types.push(FLOAT64); store<f64>(this.body.room(8), value); return this; }

  text(value: string): Reply {
    this.types.push(TEXT);
    const bytes = Uint8Array.wrap(String.UTF8.encode(value));
    this.body.unsigned(bytes.length);
    this.body.append(bytes.dataStart, bytes.length);
    return this;
  }

  blob(value: Uint8Array): Reply { return this.vector(NAT8, value.dataStart, value.length, 1); }
  nat64s(value: Uint64Array): Reply { return this.vector(NAT64, value.dataStart, value.length, 8); }
  float64s(value: Float64Array): Reply { return this.vector(FLOAT64, value.dataStart, value.length, 8); }

  /** The Candid of the values so far. */
  bytes(): Uint8Array {
    const message = new Bytes();
    store<u32>(message.room(4), 0x4c444944);
    message.unsigned(this.table.length);
    for (let i = 0; i < this.table.length; i++) { message.byte(VEC); message.byte(this.table[i]); }
    message.unsigned(this.types.length);
    for (let i = 0; i < this.types.length; i++) message.byte(this.types[i]);
    const body = this.body.bytes();
    message.append(body.dataStart, body.length);
    return message.bytes();
  }

  /** Replies with the values. Once in a call. */
  send(): void { replyBytes(this.bytes()); }

  private vector(element: u8, from: usize, length: i32, elementBytes: i32): Reply {
    let position = this.table.indexOf(element);
    if (position < 0) position = this.table.push(element) - 1;
    this.types.push(position as u8);
    this.body.unsigned(length);
    this.body.append(from, length * elementBytes);
    return this;
  }
}

/** Bytes that grow. */
class Bytes {
  private buffer: Uint8Array = new Uint8Array(64);
  private length: i32 = 0;

  /** Address of `count` new bytes, valid until the next call. */
  room(count: i32): usize {
    const end = this.length + count;
    if (end > this.buffer.length) {
      const larger = new Uint8Array(max(end, this.buffer.length * 2));
      memory.copy(larger.dataStart, this.buffer.dataStart, this.length);
      this.buffer = larger;
    }
    const at = this.buffer.dataStart + this.length;
    this.length = end;
    return at;
  }

  byte(value: u8): void { store<u8>(this.room(1), value); }
  append(from: usize, count: i32): void { memory.copy(this.room(count), from, count); }

  unsigned(value: u64): void {
    while (value >= 0x80) { this.byte(((value & 0x7f) | 0x80) as u8); value >>= 7; }
    this.byte(value as u8);
  }

  signed(value: i64): void {
    while (value < -0x40 || value >= 0x40) { this.byte(((value & 0x7f) | 0x80) as u8); value >>= 7; }
    this.byte((value & 0x7f) as u8);
  }

  bytes(): Uint8Array { return this.buffer.subarray(0, this.length); }
}
