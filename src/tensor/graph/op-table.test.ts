// The op table of the specification against the code: the ops it lists, and, on the nodes of sample graphs, the
// operands, results, costs and gradients that it says.

import { deepEqual, equal, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { GRADIENT_OPS } from "../gradient/index.ts";
import { nodeCost } from "./cost.ts";
import { dim } from "./dimension.ts";
import { everyOpGraph } from "./every-op-fixture.ts";
import { OP_KINDS } from "./op-list.ts";
import type { Node } from "./op.ts";
import { resolveGraph } from "./resolve.ts";
import { storageBytes } from "./storage.ts";
import { formatType } from "./type-check.ts";
import type { TensorType } from "./value.ts";

const document = readFileSync(
  new URL("../../../docs/spec/03-op-table.md", import.meta.url),
  "utf8",
);

interface Row {
  readonly op: string;
  readonly operands: string;
  readonly result: string;
  readonly multiplyAdds: string;
  readonly bytes: string;
  readonly dispatches: string;
  readonly gradient: string;
}

const rows = readRows();
const rowOf = new Map(rows.map((row) => [row.op, row]));

/** Sizes bound to letters; a letter with dots is the product of leading or trailing axes. */
type Letters = Map<string, number>;

test("the table lists exactly the ops, each once", () => {
  deepEqual(rows.map(({ op }) => op).sort(compareText), [...OP_KINDS].sort(compareText));
});

test("the table says of every op whether a gradient passes", () => {
  const passes = rows.flatMap(({ op, gradient }) => (gradient === "yes" ? [op] : []));
  deepEqual(passes.sort(compareText), [...GRADIENT_OPS].sort(compareText));
  ok(rows.every(({ gradient }) => gradient === "yes" || gradient === "-"));
});

for (const sizes of [
  { n: 3, past: 4 },
  { n: 6, past: 7 },
  { n: 2, past: 0 },
]) {
  const { nodes } = resolveGraph(everyOpGraph(), sizes);
  test(`operands, results and costs at n = ${sizes.n}, past = ${sizes.past} are those of the table`, () => {
    const met = new Set<string>();
    for (const node of nodes) {
      met.add(node.op);
      const row = rowOf.get(node.op)!;
      const operands = node.inputs.map((input) => nodes[input]!.type);
      const letters = bind(row, node, operands);
      const cost = nodeCost(node, operands);
      const about = `${node.op} on ${operands.map(textOf).join("; ")}`;
      equal(cost.multiplyAdds, BigInt(evaluate(row.multiplyAdds, letters)), about);
      equal(cost.bytes, BigInt(evaluate(row.bytes, letters)), about);
      equal(cost.dispatches, Number(row.dispatches), about);
    }
    equal(met.size, OP_KINDS.length);
  });
}

test("the reader of the table knows formulas and patterns", () => {
  const letters: Letters = new Map(Object.entries({ a: 5, y: 7, R: 2, N: 3 }));
  equal(evaluate("2 R N", letters), 12);
  equal(evaluate("a + 2 y", letters), 19);
  equal(evaluate("0", letters), 0);
  const bound: Letters = new Map();
  ok(matches("f32 [R.., N]", { element: "f32", shape: [2, 3, 4] }, bound));
  deepEqual(
    [...bound],
    [
      ["R", 6],
      ["N", 4],
    ],
  );
  ok(!matches("i32 [R.., N]", { element: "f32", shape: [2, 3, 4] }, new Map()));
  ok(!matches("f32 [R, R]", { element: "f32", shape: [2, 3] }, new Map()));
  ok(!matches("f32 [4]", { element: "f32", shape: [3] }, new Map()));
});

function readRows(): Row[] {
  const section = document.split("\n## Ops\n")[1]!.split("\n#")[0]!;
  const lines = section.split("\n").filter((line) => line.startsWith("| `"));
  return lines.flatMap((line) => {
    const cells = line.split("|").map((cell) => cell.trim());
    const [, names, operands, result, , , multiplyAdds, bytes, dispatches, , gradient] = cells;
    return [...names!.matchAll(/`([^`]+)`/g)].map(([, op]): Row => ({
      op: op!,
      operands: operands!,
      result: result!,
      multiplyAdds: multiplyAdds!,
      bytes: bytes!,
      dispatches: dispatches!,
      gradient: gradient!,
    }));
  });
}

/** Letters of the sizes of a node whose operands and result are as the row says. */
function bind(row: Row, node: Node<number>, operands: readonly TensorType<number>[]): Letters {
  const letters: Letters = new Map();
  const patterns = row.operands === "" ? [] : row.operands.split("; ");
  if (patterns.at(-1) !== "...") equal(operands.length, patterns.length, node.op);
  for (const [i, type] of operands.entries()) {
    const pattern = patterns[i] === "..." || patterns[i] === undefined ? patterns[0]! : patterns[i];
    const own = patterns.includes("...") && i > 0 ? new Map<string, number>() : letters;
    const at = `${node.op} operand ${i}: ${pattern}`;
    ok(matches(resolveAs(pattern, patterns, operands), type, own), `${at}, not ${textOf(type)}`);
    letters.set("abc"[i] ?? `operand ${i}`, storageBytes(type));
  }
  const result = resolveAs(row.result, patterns, operands);
  ok(matches(result, node.type, letters), `${node.op}: ${result}, not ${textOf(node.type)}`);
  letters.set("y", storageBytes(node.type));
  const rest = operands.slice(1).reduce((sum, type) => sum + storageBytes(type), 0);
  letters.set("...", rest);
  const [t, p] = [letters.get("T"), letters.get("P")];
  if (t !== undefined && p !== undefined) {
    const isCausal = "causal" in node && node.causal;
    letters.set("V", isCausal ? t * p - (t * (t - 1)) / 2 : t * p);
  }
  return letters;
}

/** `as a` stands for the first operand's pattern and its element, with another shape if one follows. */
function resolveAs(
  pattern: string,
  patterns: readonly string[],
  operands: readonly TensorType<number>[],
): string {
  const found = /^as ([ab])(?: (\[.*\]))?$/.exec(pattern);
  if (found === null) return pattern;
  const index = found[1] === "a" ? 0 : 1;
  const type = operands[index]!;
  const element = type.element === "bfp" ? `bfp(${type.bits})` : type.element;
  if (found[2] !== undefined) return `${element} ${found[2]}`;
  // A result as the operand may differ in its sizes: pad and broadcast.
  return patterns.length === 1 ? element : `${element} ${/\[.*\]/.exec(patterns[index]!)![0]}`;
}

/** Whether a type is as the pattern says; binds the pattern's letters, which must agree. */
function matches(pattern: string, type: TensorType<number>, letters: Letters): boolean {
  const [, element, shapes] = /^([^[]*?)\s*(\[.*)?$/.exec(pattern.replace(", scaled", ""))!;
  if (!isElement(element!, type)) return false;
  if (pattern.includes("scaled") !== (type.element === "bfp" && type.scaled)) {
    if (pattern.includes("scaled")) return false;
  }
  if (shapes === undefined) return true;
  return shapes.split(" or ").some((shape) => {
    const trial = new Map(letters);
    if (!matchesShape(shape, type.shape, trial)) return false;
    for (const [letter, size] of trial) letters.set(letter, size);
    return true;
  });
}

function isElement(text: string, type: TensorType<number>): boolean {
  if (text === "any") return true;
  if (text === "any but i64") return type.element !== "i64";
  const bits = /^bfp(?:\((\w+)\))?$/.exec(text);
  if (bits === null) return text.split(/, | or /).includes(type.element);
  if (type.element !== "bfp") return false;
  return bits[1] === undefined || /^[a-z]$/.test(bits[1]) || type.bits === Number(bits[1]);
}

function matchesShape(text: string, shape: readonly number[], letters: Letters): boolean {
  const names = text.slice(1, -1).split(", ").filter(Boolean);
  const open = names.findIndex((name) => name.endsWith(".."));
  // A second open name (of gather's result) takes what the first left: both are known by then.
  const openCount = names.filter((name) => name.endsWith("..")).length;
  if (openCount === 2) {
    const product = names.reduce((n, name) => n * letters.get(name.slice(0, -2))!, 1);
    return product === shape.reduce((n, size) => n * size, 1);
  }
  const extra = shape.length - names.length;
  if (open < 0 ? extra !== 0 : extra < -1) return false;
  let at = 0;
  return names.every((name) => {
    const isOpen = name.endsWith("..");
    const count = isOpen ? extra + 1 : 1;
    const size = shape.slice(at, at + count).reduce((n, s) => n * s, 1);
    at += count;
    const letter = isOpen ? name.slice(0, -2) : name;
    if (/^\d+$/.test(letter)) return size === Number(letter);
    const known = letters.get(letter);
    letters.set(letter, size);
    return known === undefined || known === size;
  });
}

/** A sum of products of numbers and letters. */
function evaluate(formula: string, letters: Letters): number {
  const terms = formula.split(" + ");
  return terms.reduce((sum, term) => {
    const factors = term.split(" ").map((factor) => {
      const value = /^\d+$/.test(factor) ? Number(factor) : letters.get(factor);
      ok(value !== undefined, `unknown ${factor} in ${formula}`);
      return value;
    });
    return sum + factors.reduce((product, factor) => product * factor, 1);
  }, 0);
}

function textOf(type: TensorType<number>): string {
  return formatType({ ...type, shape: type.shape.map(dim) });
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
