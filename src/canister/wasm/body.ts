// A function body as instructions: what the first pass writes and the second one reads.
import type { ValueType } from "./module.ts";

/** Rounds of a short loop that are written out, as V8 does for loops without calls. */
export const UNROLLED_ROUNDS = 4;

export const Flag = {
  /** The result is visible bit by bit, so its NaN must be canonical. */
  CANONICALISE: 1,
  /** A branch goes to this block's label. */
  TARGETED: 2,
  /** An earlier store's check covers this store. */
  COVERED: 4,
} as const;

/** What an address is computed from, as far as that is plain to see; locals and globals follow. */
export const Root = { UNKNOWN: 0, CONSTANT: 1, FIRST: 2 } as const;

/** A decoded function; the arrays are reused by the next `decodeBody`. */
export class Body {
  /** Reachable instructions. */
  count = 0;
  ops: Uint16Array<ArrayBuffer> = new Uint16Array(1024);
  /** Byte range of each instruction in the module. */
  starts: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  ends: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  /** Main immediate: index, memory offset or type; for a memory access `b` is the alignment hint. */
  a: Float64Array<ArrayBuffer> = new Float64Array(1024);
  b: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  flags: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  /** For a value and for a store: which local or global its address comes from (`Root`). */
  roots: Uint32Array<ArrayBuffer> = new Uint32Array(1024);

  /** For a read of a local: a number that tells its successive values apart. */
  versions: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  /** For a store that checks for others: the range of bytes, counted from its base. */
  readonly spans: Map<number, { readonly low: number; readonly high: number }> = new Map();

  /** Labels of each br_table, the default last. */
  readonly tables: Map<number, readonly number[]> = new Map();
  /** Loops to unroll: index of the `loop` to that of its `end`. */
  readonly unrolled: Map<number, number> = new Map();

  localTypes: ValueType[] = [];
  heightMax = 0;
  /** Sum of `ENGINE_SLOTS`, with all rounds of unrolled loops. */
  engineSlots = 0;
  /** All instructions, unreachable ones too. */
  instructionCount = 0;
  /** Whether any function is called, imports included. */
  callsAny = false;
  /** Whether functions other than imports are called. */
  calls = false;
  loops = false;
  /** Whether the function's own label is branched to. */
  returns = false;
  mutatesInstance = false;
  /** Functions whose references are taken. */
  readonly references: Set<number> = new Set();

  /** Empties it for the next function. */
  clear(localTypes: ValueType[]): void {
    this.count = 0;
    this.localTypes = localTypes;
    this.heightMax = 0;
    this.engineSlots = 0;
    this.instructionCount = 0;
    this.callsAny = false;
    this.calls = false;
    this.loops = false;
    this.returns = false;
    this.mutatesInstance = false;
    // Clearing what is empty already would make V8 allocate all the same.
    for (const collection of [this.references, this.spans, this.unrolled, this.tables])
      if (collection.size > 0) collection.clear();
  }

  /** Adds an instruction; returns its index. */
  push(op: number, start: number, end: number, a: number, b: number): number {
    const index = this.count++;
    if (index === this.ops.length) this.#grow();
    this.ops[index] = op;
    this.starts[index] = start;
    this.ends[index] = end;
    this.a[index] = a;
    this.b[index] = b;
    this.flags[index] = 0;
    this.roots[index] = Root.UNKNOWN;
    return index;
  }

  #grow(): void {
    const length = this.ops.length * 2;
    this.ops = grow(this.ops, new Uint16Array(length));
    this.starts = grow(this.starts, new Uint32Array(length));
    this.ends = grow(this.ends, new Uint32Array(length));
    this.a = grow(this.a, new Float64Array(length));
    this.b = grow(this.b, new Uint32Array(length));
    this.flags = grow(this.flags, new Uint8Array(length));
    this.roots = grow(this.roots, new Uint32Array(length));
    this.versions = grow(this.versions, new Uint32Array(length));
  }
}

function grow<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
