// Stores that follow each other in a straight line over the same base, such as the fields of a new
// object: the first one's check covers the bytes of all, and the others need none. Nothing between
// them may branch, call, or trap for another reason than an access out of bounds.
import { type Body, Flag } from "./body.ts";
import { MEMORY_TRAPS_ONLY, Op, STORE_BYTES } from "./opcodes.ts";

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
  readonly #versions: Map<number, number> = new Map();

  constructor(body: Body) {
    this.#body = body;
  }

  /** Takes note of instruction `at`; `address` made the address of a store, or is -1. */
  follow(op: number, at: number, address: number): void {
    const body = this.#body;
    if (op === Op.LOCAL_SET || op === Op.LOCAL_TEE) this.#versions.set(body.a[at]!, at + 1);
    if (op === Op.LOCAL_GET || op === Op.LOCAL_TEE) {
      body.versions[at] = this.#versions.get(body.a[at]!) ?? 0;
    } else if (STORE_BYTES[op]! > 0) {
      if (address >= 0) this.#store(op, at, address);
    } else if (MEMORY_TRAPS_ONLY[op] === 0) this.#open.clear();
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
