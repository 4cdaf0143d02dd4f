// A bound on the work that decoding Candid may cause. A few bytes can describe a vector of 2^60 nulls
// or a record that contains itself; this walk over type table and values visits what a decoder would
// visit and stops at a limit, before any value is built.

import { DecodeError, PRINCIPAL_BYTES_MAX } from "gyrotron/base";

/** Values visited per byte of input and in addition to it: generous for honest data. */
const VISITS_BASE = 10_000;
const VISITS_PER_BYTE = 16;
const DEPTH_MAX = 100;
/** Types, and with them their fields, arguments and methods: a decoder's time grows faster than their number. */
const TABLE_ENTRIES_MAX = 4_000;
/** Bytes of one nat or int: building a number takes time that grows with the square of its length. */
const NUMBER_BYTES_MAX = 100;
/** Bytes of a count or an index, zeros at its end included. */
const COUNT_BYTES_MAX = 10;

const OPT = -18;
const VEC = -19;
const RECORD = -20;
const VARIANT = -21;
const FUNC = -22;
const SERVICE = -23;
const PRINCIPAL = -24;
const FIXED_BYTES: Readonly<Record<number, number>> = {
  [-1]: 0, // null
  [-2]: 1, // bool
  [-5]: 1,
  [-6]: 2,
  [-7]: 4,
  [-8]: 8, // nat8..nat64
  [-9]: 1,
  [-10]: 2,
  [-11]: 4,
  [-12]: 8, // int8..int64
  [-13]: 4,
  [-14]: 8, // float32, float64
  [-16]: 0, // reserved
};
const NAT = -3;
const INT = -4;
const TEXT = -15;

type TableType =
  | { kind: "opt" | "vec"; item: number }
  | { kind: "record" | "variant"; fields: number[] }
  | { kind: "opaque"; form: number };

/** Checks that decoding `bytes` is cheap and that every value lies inside the input. @throws DecodeError `candid/decode` */
export function checkCandidCost(bytes: Uint8Array): void {
  new CostWalk(bytes).run();
}

class CostWalk {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #visitsLeft: number;
  #entriesLeft = TABLE_ENTRIES_MAX;
  #table: TableType[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#visitsLeft = VISITS_BASE + VISITS_PER_BYTE * bytes.length;
  }

  run(): void {
    for (const byte of [0x44, 0x49, 0x44, 0x4c])
      if (this.#byte() !== byte) throw this.#error("magic DIDL expected");
    const typeCount = this.#entries();
    for (let i = 0; i < typeCount; i++) this.#table.push(this.#tableType());
    const argumentTypes = Array.from({ length: this.#entries() }, () => this.#typeIndex());
    for (const type of argumentTypes) this.#value(type, 0);
  }

  #tableType(): TableType {
    const form = this.#signed();
    switch (form) {
      case OPT:
        return { kind: "opt", item: this.#typeIndex() };
      case VEC:
        return { kind: "vec", item: this.#typeIndex() };
      case RECORD:
      case VARIANT:
        return { kind: form === RECORD ? "record" : "variant", fields: this.#fields() };
      case FUNC:
        for (const _side of ["arguments", "results"]) {
          for (let left = this.#entries(); left > 0; left--) this.#typeIndex();
        }
        for (let left = this.#entries(); left > 0; left--) this.#byte();
        return { kind: "opaque", form };
      case SERVICE:
        for (let left = this.#entries(); left > 0; left--) {
          this.#skip(this.#unsigned());
          this.#typeIndex();
        }
        return { kind: "opaque", form };
      default:
        throw this.#error("unknown type constructor");
    }
  }

  #fields(): number[] {
    const count = this.#entries();
    const types: number[] = [];
    for (let i = 0; i < count; i++) {
      this.#unsigned();
      types.push(this.#typeIndex());
    }
    return types;
  }

  #value(type: number, depth: number): void {
    if (depth > DEPTH_MAX) throw this.#error("values are nested too deeply");
    if (--this.#visitsLeft < 0) throw this.#error("too many values for the size of the message");
    if (type < 0) return this.#primitive(type);
    const found = this.#table[type];
    if (found === undefined) throw this.#error("type index past the table");
    switch (found.kind) {
      case "opt":
        if (this.#flag()) this.#value(found.item, depth + 1);
        return;
      case "vec":
        return this.#vector(found.item, depth);
      case "record":
        for (const field of found.fields) this.#value(field, depth + 1);
        return;
      case "variant": {
        const field = found.fields[this.#unsigned()];
        if (field === undefined) throw this.#error("variant tag past the type");
        return this.#value(field, depth + 1);
      }
      case "opaque":
        return this.#reference(found.form);
    }
  }

  #vector(item: number, depth: number): void {
    const count = this.#unsigned();
    const fixed = FIXED_BYTES[item];
    if (fixed !== undefined && fixed > 0) return this.#skip(count * fixed);
    for (let i = 0; i < count; i++) this.#value(item, depth + 1);
  }

  #primitive(type: number): void {
    const fixed = FIXED_BYTES[type];
    if (fixed !== undefined) return this.#skip(fixed);
    if (type === NAT || type === INT) {
      for (let length = 1; (this.#byte() & 0x80) !== 0; length++)
        if (length === NUMBER_BYTES_MAX) throw this.#error("number is too long");
      return;
    }
    if (type === TEXT) return this.#skip(this.#unsigned());
    if (type === PRINCIPAL) return this.#principal();
    throw this.#error("value of a type that has none");
  }

  #reference(form: number): void {
    if (!this.#flag()) throw this.#error("opaque reference");
    if (form === SERVICE) return this.#skip(this.#unsigned());
    this.#principal();
    this.#skip(this.#unsigned());
  }

  #principal(): void {
    if (!this.#flag()) throw this.#error("opaque principal");
    const length = this.#unsigned();
    if (length > PRINCIPAL_BYTES_MAX) throw this.#error("principal is too long");
    this.#skip(length);
  }

  #flag(): boolean {
    const byte = this.#byte();
    if (byte > 1) throw this.#error("flag is neither 0 nor 1");
    return byte === 1;
  }

  #typeIndex(): number {
    return this.#signed();
  }

  /** A number of things that a type is made of. */
  #entries(): number {
    const count = this.#unsigned();
    if (count > this.#entriesLeft) throw this.#error("too many types");
    this.#entriesLeft -= count;
    return count;
  }

  /** LEB128 up to 2^53. */
  #unsigned(): number {
    let value = 0;
    for (let shift = 0; shift < 7 * COUNT_BYTES_MAX; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > Number.MAX_SAFE_INTEGER) throw this.#error("number is too large");
      if ((byte & 0x80) === 0) return value;
    }
    throw this.#error("number is too long");
  }

  /** SLEB128 of a type code or index. */
  #signed(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return (byte & 0x40) !== 0 ? value - 2 ** (shift + 7) : value;
    }
    throw this.#error("type code is too large");
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw this.#error("unexpected end");
    this.#offset++;
    return byte;
  }

  #skip(count: number): void {
    if (count > this.#bytes.length - this.#offset) throw this.#error("unexpected end");
    this.#offset += count;
  }

  #error(what: string): DecodeError {
    return new DecodeError({ code: "candid/decode", what, offset: this.#offset });
  }
}
