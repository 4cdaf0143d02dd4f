// Kernels of elementwise groups (docs/spec/01-numerics.md sections 4, 9, 14, 15, 18, 21): one thread an
// element, members as registers, each member's failures checked as if it were alone. Nothing of a
// shape is in the text, so groups of one form share a pipeline.

import { assert } from "gyrotron/base";
import {
  elementCount,
  type Node,
  type OpKind,
  rowCount,
  TensorError,
  type TensorType,
} from "gyrotron/tensor";
import type { WgslPiece } from "../wgsl/piece.ts";
import { EXPONENTIAL, INVERSE_SQRT, LOG, LOOK, TO_INTEGER } from "../wgsl/function.ts";
import { GRID } from "../wgsl/grid.ts";
import { SILU } from "../wgsl/program.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { SOFT_ADD, SOFT_DIVIDE, SOFT_FLOAT, SOFT_MULTIPLY, SOFT_SQRT } from "../wgsl/soft-float.ts";
import { DROPOUT } from "../wgsl/threefry.ts";
import { type Group, leavesOf } from "./fuse.ts";
import { elementGroups, elementKernel, type Kernel } from "./kernel.ts";
import { denseSteps, mergeAxes } from "./layout-ops.ts";
import { limbsOf, mantissaReader, mantissaWords, rowWords } from "./mantissas.ts";
import { lastAxis, type Plan } from "./plan.ts";

/** Text of a value, and what it needs. */
interface Expression {
  readonly text: string;
  readonly pieces: readonly WgslPiece[];
  /** Whether the value may be the bits of an infinity, which fails. */
  readonly mayBeBad?: boolean;
}

type Simple = (a: string, b: string) => Expression;

const pure =
  (text: (a: string, b: string) => string, ...pieces: WgslPiece[]): Simple =>
  (a, b) => ({ text: text(a, b), pieces });
const rounded =
  (text: (a: string, b: string) => string, ...pieces: WgslPiece[]): Simple =>
  (a, b) => ({ text: text(a, b), pieces, mayBeBad: true });

/** f32 operands. */
const FLOAT_OPS: Partial<Record<OpKind, Simple>> = {
  neg: pure((a) => `softNegate(${a})`, SOFT_FLOAT),
  abs: pure((a) => `${a} & 0x7fffffffu`),
  relu: pure((a) => `select(${a}, 0u, (${a} & 0x80000000u) != 0u)`),
  sqrt: rounded((a) => `softSqrt(${a})`, SOFT_SQRT),
  rsqrt: rounded((a) => `inverseSqrt(${a})`, INVERSE_SQRT),
  exp: rounded((a) => `exponential(${a})`, EXPONENTIAL),
  exp2: rounded((a) => `exponential2(${a})`, EXPONENTIAL),
  log: rounded((a) => `naturalLog(${a})`, LOG),
  tanh: pure((a) => `hyperbolicTangent(${a})`, LOOK),
  erf: pure((a) => `errorFunction(${a})`, LOOK),
  gelu: pure((a) => `gelu(${a})`, LOOK),
  "gelu-tanh": pure((a) => `geluTanh(${a})`, LOOK),
  sigmoid: pure((a) => `sigmoid(${a})`, EXPONENTIAL),
  silu: pure((a) => `silu(${a})`, SILU),
  add: rounded((a, b) => `softAdd(${a}, ${b})`, SOFT_ADD),
  sub: rounded((a, b) => `softSubtract(${a}, ${b})`, SOFT_ADD),
  mul: rounded((a, b) => `softMultiply(${a}, ${b})`, SOFT_MULTIPLY),
  div: rounded((a, b) => `softDivide(${a}, ${b})`, SOFT_DIVIDE),
  min: pure((a, b) => `select(${b}, ${a}, softKey(${a}) < softKey(${b}))`, SOFT_FLOAT),
  max: pure((a, b) => `select(${a}, ${b}, softKey(${a}) < softKey(${b}))`, SOFT_FLOAT),
  less: pure((a, b) => `select(0u, 1u, softKey(${a}) < softKey(${b}))`, SOFT_FLOAT),
  "less-or-equal": pure((a, b) => `select(1u, 0u, softKey(${b}) < softKey(${a}))`, SOFT_FLOAT),
  equal: pure((a, b) => `select(0u, 1u, ${a} == ${b})`),
};

/** i32 operands. */
const INTEGER_OPS: Partial<Record<OpKind, Simple>> = {
  add: pure((a, b) => `${a} + ${b}`),
  sub: pure((a, b) => `${a} - ${b}`),
  mul: pure((a, b) => `${a} * ${b}`),
  min: pure((a, b) => `u32(min(i32(${a}), i32(${b})))`),
  max: pure((a, b) => `u32(max(i32(${a}), i32(${b})))`),
  less: pure((a, b) => `select(0u, 1u, i32(${a}) < i32(${b}))`),
  "less-or-equal": pure((a, b) => `select(0u, 1u, i32(${a}) <= i32(${b}))`),
  equal: pure((a, b) => `select(0u, 1u, ${a} == ${b})`),
};

const BOOL_OPS: Partial<Record<OpKind, Simple>> = {
  and: pure((a, b) => `${a} & ${b}`),
  or: pure((a, b) => `${a} | ${b}`),
  not: pure((a) => `${a} ^ 1u`),
};

function convertOp(from: TensorType<number>, to: TensorType<number>): Simple {
  if (to.element === "f32") {
    if (from.element === "i32") return pure((a) => `roundInteger(i32(${a}), 0)`, ROUND_WIDE);
    if (from.element === "bool") return pure((a) => `select(0u, 0x3f800000u, ${a} != 0u)`);
  }
  if (to.element === "i32" && from.element === "f32")
    return pure((a) => `toInteger(${a})`, TO_INTEGER);
  return pure((a) => a);
}

/** Plans a group as one dispatch that writes its results. */
export function planElementwise(plan: Plan, group: Group, views: ReadonlySet<number>): void {
  const writer = new GroupWriter(plan, group, views);
  const { kernel, params } = writer.finish();
  const count = elementCount(plan.node(group.members[0]!).type.shape);
  plan.add({
    kernel,
    params: [count, ...params],
    reads: writer.leaves.map((leaf) => plan.value(leaf)),
    writes: group.results.map((member) => plan.define(member)),
    workgroups: elementGroups(count),
  });
}

/** The text of one group while it grows. */
class GroupWriter {
  readonly leaves: readonly number[];
  readonly #plan: Plan;
  readonly #group: Group;
  readonly #views: ReadonlySet<number>;
  readonly #lines: string[] = [];
  readonly #pieces = new Set<WgslPiece>();
  readonly #params: number[] = [];
  /** Registers by node. */
  readonly #registers = new Map<number, string>();
  #hasRow = false;

  constructor(plan: Plan, group: Group, views: ReadonlySet<number>) {
    this.#plan = plan;
    this.#group = group;
    this.#views = views;
    this.leaves = leavesOf(plan.graph, views, group.members);
  }

  finish(): { kernel: Kernel; params: number[] } {
    for (const member of this.#group.members) this.#addMember(member);
    this.#group.results.forEach((member, i) => {
      const register = this.#registers.get(member)!;
      const isPair = this.#plan.node(member).type.element === "i64";
      this.#lines.push(
        isPair
          ? `out${i}[2u * i] = ${register}.x; out${i}[2u * i + 1u] = ${register}.y;`
          : `out${i}[i] = ${register};`,
      );
    });
    const kernel = elementKernel({
      name: `elementwise-${this.#group.members.map((member) => this.#plan.node(member).op).join("-")}`,
      pieces: [...this.#pieces],
      reads: this.leaves.length,
      writes: this.#group.results.length,
      params: 1 + this.#params.length,
      body: `fn element(i: u32) {\n  ${this.#lines.join("\n  ")}\n}`,
    });
    return { kernel, params: this.#params };
  }

  /** Text of a new parameter. */
  #param(value: number): string {
    this.#params.push(value);
    return `param(${this.#params.length}u)`;
  }

  #buffer(node: number): string {
    const at = this.leaves.indexOf(node);
    assert(at >= 0, "a buffer that the group does not read");
    return `in${at}`;
  }

  /** Text of the row of this element. */
  #row(node: Node<number>): string {
    if (!this.#hasRow) {
      this.#hasRow = true;
      this.#lines.push(`let row = i / ${this.#param(Math.max(1, lastAxis(node.type.shape)))};`);
    }
    return "row";
  }

  #define(node: number, text: string): string {
    const register = `v${this.#registers.size}`;
    this.#registers.set(node, register);
    this.#lines.push(`let ${register} = ${text};`);
    return register;
  }

  /** The register of an operand, loaded if it is outside. */
  #operand(node: number): string {
    const known = this.#registers.get(node);
    if (known !== undefined) return known;
    if (this.#views.has(node)) return this.#loadView(node);
    const buffer = this.#buffer(node);
    const isPair = this.#plan.node(node).type.element === "i64";
    return this.#define(
      node,
      isPair ? `vec2u(${buffer}[2u * i], ${buffer}[2u * i + 1u])` : `${buffer}[i]`,
    );
  }

  #loadView(index: number): string {
    const node = this.#plan.node(index);
    const source = node.inputs[0]!;
    const from = this.#plan.node(source).type.shape;
    const steps = denseSteps(from);
    const axes = mergeAxes(
      node.type.shape.map((size, k) => {
        const step = from[k] === 1 ? 0 : steps[k]!;
        return { size, from: step, to: step };
      }),
    );
    const buffer = this.#buffer(source);
    if (axes.every((axis) => axis.from === 0)) return this.#define(index, `${buffer}[0]`);
    const name = `at${this.#registers.size}`;
    this.#lines.push(`var ${name} = 0u;`, "{ var rest = i;");
    for (const { size, from: step } of axes.toReversed()) {
      const length = this.#param(size);
      this.#lines.push(`${name} += (rest % ${length}) * ${this.#param(step)}; rest /= ${length};`);
    }
    this.#lines.push("}");
    return this.#define(index, `${buffer}[${name}]`);
  }

  #addMember(index: number): void {
    const node = this.#plan.node(index);
    switch (node.op) {
      case "iota": {
        const inner = elementCount(node.type.shape.slice(node.axis + 1));
        const size = node.type.shape[node.axis]!;
        this.#define(index, `(i / ${this.#param(inner)}) % ${this.#param(size)}`);
        return;
      }
      case "select": {
        const [c, a, b] = node.inputs.map((input) => this.#operand(input));
        this.#define(index, `select(${b!}, ${a!}, ${c!} != 0u)`);
        return;
      }
      case "dequantize":
        this.#addDequantize(index, node);
        return;
      case "dropout":
        this.#addDropout(index, node);
        return;
      case "to-grid":
      case "grid-add":
      case "from-grid":
        this.#addGrid(index, node);
        return;
      default:
        this.#addSimple(index, node);
    }
  }

  #addSimple(index: number, node: Node<number>): void {
    const from = this.#plan.inputType(node, 0);
    const op =
      node.op === "convert"
        ? convertOp(from, node.type)
        : (from.element === "f32" ? FLOAT_OPS : from.element === "i32" ? INTEGER_OPS : BOOL_OPS)[
            node.op
          ];
    if (op === undefined)
      throw new TensorError({
        code: "tensor/unsupported",
        backend: "webgpu",
        what: `${node.op} of ${from.element}`,
      });
    const [a = "", b = ""] = node.inputs.map((input) => this.#operand(input));
    const { text, pieces, mayBeBad } = op(a, b);
    for (const piece of pieces) this.#pieces.add(piece);
    const register = this.#define(index, text);
    if (mayBeBad === true) this.#checkFinite(index, node, register);
  }

  #checkFinite(index: number, node: Node<number>, register: string): void {
    this.#pieces.add(ROUND_WIDE);
    const row = this.#row(node);
    this.#lines.push(`if (isBad(${register})) { fail(${this.#param(index)}, ${row}); }`);
  }

  #addDequantize(index: number, node: Node<number>): void {
    const type = this.#plan.inputType(node, 0);
    assert(type.element === "bfp", "dequantize of bfp");
    const buffer = this.#buffer(node.inputs[0]!);
    const columns = lastAxis(type.shape);
    const reader = mantissaReader(`mantissaOf${buffer}`, buffer, limbsOf(type.bits));
    this.#pieces.add(reader).add(ROUND_WIDE);
    const row = this.#row(node);
    const words = this.#param(rowWords(type.bits, columns));
    const exponents = this.#param(mantissaWords(type));
    const place = `${row} * ${words}, ${words}, i - ${row} * ${this.#param(columns)}`;
    const scale = type.scaled
      ? ` * i32(${buffer}[${exponents} + ${this.#param(rowCount(type.shape))} + ${row}])`
      : "";
    const register = this.#define(
      index,
      `roundInteger(mantissaOf${buffer}(${place})${scale}, i32(${buffer}[${exponents} + ${row}]))`,
    );
    this.#checkFinite(index, node, register);
  }

  #addDropout(index: number, node: Extract<Node<number>, { op: "dropout" }>): void {
    this.#pieces.add(DROPOUT);
    const x = this.#operand(node.inputs[0]!);
    const key = this.#buffer(node.inputs[1]!);
    const words = [0, 1, 2, 3].map((k) => `${key}[${k}]`);
    const register = this.#define(
      index,
      `droppedOut(${x}, threefry(vec2u(${words[0]}, ${words[1]}), vec2u(${words[2]}, ${words[3]})), i, ${this.#param(node.keep)})`,
    );
    this.#checkFinite(index, node, register);
  }

  #addGrid(index: number, node: Node<number>): void {
    this.#pieces.add(GRID);
    const a = this.#operand(node.inputs[0]!);
    const row = this.#row(node);
    const id = this.#param(index);
    if (node.op === "grid-add") {
      const sum = `sum${this.#registers.size}`;
      this.#lines.push(`let ${sum} = gridSum(${a}, ${this.#operand(node.inputs[1]!)});`);
      this.#lines.push(`if (${sum}.isOver) { failRange(${id}, ${row}); }`);
      this.#define(index, `${sum}.value`);
      return;
    }
    const exponent = `grid${this.#registers.size}`;
    this.#lines.push(`let ${exponent} = i32(${this.#buffer(node.inputs[1]!)}[0]);`);
    this.#lines.push(`if (!isGrid(${exponent})) { failRange(${id}, ${row}); }`);
    if (node.op === "from-grid") {
      this.#pieces.add(ROUND_WIDE);
      const register = this.#define(index, `roundSigned(${a}, ${exponent})`);
      this.#checkFinite(index, node, register);
      return;
    }
    const value = `value${this.#registers.size}`;
    this.#lines.push(`let ${value} = gridOfFloat(${a}, ${exponent});`);
    this.#lines.push(`if (${value}.isOver) { failRange(${id}, ${row}); }`);
    this.#define(index, `${value}.value`);
  }
}
