// Which float locals may hold a NaN with open bits, so that canonicalisation moves from where they
// are written (often a loop) to where their bits can be seen. Such a local is written by arithmetic
// of one shape and by plain constants only, and is no parameter: a NaN that was merely moved into a
// local must keep its bits.
import { type Body, Flag } from "./body.ts";
import type { ValueType } from "./module.ts";
import { MAKES_SHAPE, Op, Shape } from "./opcodes.ts";

/** A loop is taken to run this many times, when the number of canonicalisations is estimated. */
const ROUNDS_PER_LOOP = 8;
const LOOP_DEPTH_MAX = 8;

interface Local {
  /** Shape that arithmetic wrote so far. */
  shape: number;
  /** Whether something else than arithmetic of one shape and constants writes it. */
  isMoved: boolean;
  /** Instructions whose results are written to it, with their estimated count. */
  readonly definitions: { readonly maker: number; readonly weight: number }[];
  /** Instructions that read it, and the shape as which the value is then read. */
  readonly uses: { readonly at: number; readonly reads: number; readonly weight: number }[];
}

/** Collects definitions and uses while a body is decoded, then decides. */
export class FloatLocals {
  #locals: (Local | undefined)[] = [];

  /** Starts over with a body of these locals. */
  begin(types: readonly ValueType[], paramCount: number): void {
    this.#locals = [];
    for (let index = paramCount; index < types.length; index++) {
      const type = types[index];
      if (type === "f32" || type === "f64" || type === "v128")
        this.#locals[index] = { shape: Shape.NONE, isMoved: false, definitions: [], uses: [] };
    }
  }

  /** Whether any local is covered. */
  get any(): boolean {
    return this.#locals.length > 0;
  }

  /** Whether writes of this local are to be reported here. */
  covers(local: number): boolean {
    return this.#locals[local] !== undefined;
  }

  /** The result of instruction `maker` (-1: of several) is written to `index`. */
  define(body: Body, bytes: Uint8Array, index: number, maker: number, loopDepth: number): void {
    const local = this.#locals[index]!;
    if (maker >= 0 && isPlainConstant(body, bytes, maker)) return;
    const makes = maker < 0 ? Shape.NONE : MAKES_SHAPE[body.ops[maker]!]!;
    if (makes === Shape.NONE) {
      local.isMoved = true;
      if (maker < 0) return;
      const op = body.ops[maker]!;
      // A copy of another local shows that local's bits.
      if (op === Op.LOCAL_GET || op === Op.LOCAL_TEE) {
        this.use(body.a[maker]!, maker, Shape.NONE, loopDepth);
      }
      return;
    }
    if (local.shape === Shape.NONE) local.shape = makes;
    else if (local.shape !== makes) local.isMoved = true;
    local.definitions.push({ maker, weight: weightAt(loopDepth) });
  }

  /** Instruction `at` read local `index`, and its value is consumed as `reads`. */
  use(index: number, at: number, reads: number, loopDepth: number): void {
    this.#locals[index]?.uses.push({ at, reads, weight: weightAt(loopDepth) });
  }

  /** Flags, for each local, either what writes it or what shows its bits. */
  decide(body: Body): void {
    for (const local of this.#locals) {
      if (local === undefined) continue;
      const showing = local.uses.filter(({ reads }) => reads !== local.shape);
      const isLazy = !local.isMoved && total(showing) < total(local.definitions);
      if (isLazy) {
        for (const { at } of showing) {
          body.flags[at]! |= Flag.CANONICALISE;
          body.b[at] = local.shape;
        }
      } else {
        for (const { maker } of local.definitions) body.flags[maker]! |= Flag.CANONICALISE;
      }
    }
  }
}

function weightAt(loopDepth: number): number {
  return ROUNDS_PER_LOOP ** Math.min(loopDepth, LOOP_DEPTH_MAX);
}

function total(items: readonly { readonly weight: number }[]): number {
  return items.reduce((sum, { weight }) => sum + weight, 0);
}

/** A constant that holds no NaN in any shape. */
function isPlainConstant(body: Body, bytes: Uint8Array, at: number): boolean {
  const end = body.ends[at]!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (body.ops[at]) {
    case Op.F32_CONST:
      return !Number.isNaN(view.getFloat32(end - 4, true));
    case Op.F64_CONST:
      return !Number.isNaN(view.getFloat64(end - 8, true));
    case Op.V128_CONST:
      return bytes.subarray(end - 16, end).every((byte) => byte === 0);
    default:
      return false;
  }
}
