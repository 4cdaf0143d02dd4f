// Stores that follow each other in a straight line over the same base, such as the fields of a new
// object: the first one's check covers the bytes of all, and the others need none. Nothing between
// them may branch, call, or trap for another reason than an access out of bounds.
import { type Body, Flag } from "./body.ts";
import { Op, STORE_BYTES } from "./opcodes.ts";

/** Longest span in bytes; so it touches at most two pages. */
export const SPAN_BYTES_MAX = 256;
/** Key of stores to constant addresses; others have the number of the local. */
const CONSTANT = -1;

interface Group {
  /** The store that checks. */
  readonly first: number;
  /** Which of the local's successive values is the base. */
  readonly version: number;
  /** Constant address of the first store. */
  readonly origin: number;
  /** Range of bytes, counted from the first store's base. */
  low: number;
  high: number;
}

/** Follows a body as it is decoded, and reports in its flags and spans. */
export class StoreSpans {
  readonly #body: Body;
  readonly #open: Map<number, Group> = new Map();
  /** For each local the instruction that wrote it last, plus one. */
  #versions = new Uint32Array(64);

  constructor(body: Body) {
    this.#body = body;
  }

  /** Starts over with a body of so many locals. */
  begin(localCount: number): void {
    this.#open.clear();
    if (localCount > this.#versions.length) this.#versions = new Uint32Array(2 * localCount);
    else this.#versions.fill(0, 0, localCount);
  }

  /** Takes note that instruction `at` writes a local. */
  write(local: number, at: number): void {
    this.#versions[local] = at + 1;
  }

  /** Takes note that instruction `at` leaves the value of a local. */
  read(local: number, at: number): void {
    this.#body.versions[at] = this.#versions[local]!;
  }

  /** Takes note of an instruction after which a store must be checked anew. */
  interrupt(): void {
    if (this.#open.size > 0) this.#open.clear();
  }

  /** Takes note of store `at`; `address` made its address, or is -1. */
  store(op: number, at: number, address: number): void {
    if (address >= 0) this.#store(op, at, address);
  }

  #store(op: number, at: number, address: number): void {
    const body = this.#body;
    const maker = body.ops[address]!;
    const isConstant = maker === Op.I32_CONST;
    if (!isConstant && maker !== Op.LOCAL_GET && maker !== Op.LOCAL_TEE) return;
    const key = isConstant ? CONSTANT : body.a[address]!;
    const origin = isConstant ? body.a[address]! >>> 0 : 0;
    const version = isConstant ? 0 : body.versions[address]!;
    const group = this.#open.get(key);
    const base = origin - (group?.origin ?? origin);
    const low = base + body.a[at]!;
    const high = low + STORE_BYTES[op]!;
    if (group !== undefined && group.version === version) {
      const [lowest, highest] = [Math.min(group.low, low), Math.max(group.high, high)];
      if (highest - lowest <= SPAN_BYTES_MAX) {
        group.low = lowest;
        group.high = highest;
        body.spans.set(group.first, { low: lowest, high: highest });
        body.flags[at]! |= Flag.COVERED;
        return;
      }
    }
    const offset = body.a[at]!;
    this.#open.set(key, {
      first: at,
      version,
      origin,
      low: offset,
      high: offset + STORE_BYTES[op]!,
    });
  }
}
