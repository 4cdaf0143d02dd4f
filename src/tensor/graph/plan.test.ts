// Goal: values that are alive together never share a byte, whatever the graph; and memory is really reused.

import { deepEqual, equal, ok } from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { GraphBuilder } from "./builder.ts";
import { everyOpGraph } from "./every-op-fixture.ts";
import { f32 } from "./op-builder.ts";
import { type PlannedNode, planGraph, planMemory } from "./plan.ts";
import { storageBytes } from "./storage.ts";

const graphs: fc.Arbitrary<PlannedNode[]> = fc
  .array(
    fc.record({
      bytes: fc.nat(300),
      kind: fc.constantFrom("exp", "exp", "add", "input", "reshape"),
      inputs: fc.tuple(fc.nat(99), fc.nat(99)),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((drawn) => {
    const nodes: PlannedNode[] = [];
    for (const [i, { bytes, kind, inputs }] of drawn.entries()) {
      const op = i === 0 ? "input" : (kind as PlannedNode["op"]);
      const count = op === "input" ? 0 : op === "add" ? 2 : 1;
      const used = inputs.slice(0, count).map((input) => input % i);
      nodes.push({ op, inputs: used, bytes: op === "reshape" ? nodes[used[0]!]!.bytes : bytes });
    }
    return nodes;
  });

test("values that are alive together do not overlap, and each is aligned", () => {
  fc.assert(
    fc.property(graphs, fc.nat(99), fc.boolean(), (nodes, last, keepAll) => {
      const output = last % nodes.length;
      const { offsets, peakBytes } = planMemory(nodes, [output], { alignment: 16, keepAll });
      const values = nodes.map((_, i) => i);
      for (const i of values) {
        equal(offsets[i]! % 16, 0);
        ok(offsets[i]! + nodes[i]!.bytes <= peakBytes);
      }
      // At the time of each node, its operands, its result and all that is still to be read are in place.
      const root = (i: number): number =>
        nodes[i]!.op === "reshape" ? root(nodes[i]!.inputs[0]!) : i;
      for (const now of values) {
        const alive = values.filter(
          (i) => root(i) === i && isAlive(nodes, output, i, now, keepAll),
        );
        for (const i of alive) {
          for (const j of alive) {
            if (i >= j || nodes[i]!.bytes === 0 || nodes[j]!.bytes === 0) continue;
            const apart =
              offsets[i]! + nodes[i]!.bytes <= offsets[j]! ||
              offsets[j]! + nodes[j]!.bytes <= offsets[i]!;
            ok(apart, `${i} and ${j} overlap at ${now}`);
          }
        }
      }
    }),
    { seed: 3, numRuns: 300 },
  );
});

test("a chain needs two places, however long it is", () => {
  const nodes: PlannedNode[] = [{ op: "iota", inputs: [], bytes: 64 }];
  for (let i = 0; i < 20; i++) nodes.push({ op: "exp", inputs: [i], bytes: 64 });
  equal(planMemory(nodes, [20]).peakBytes, 128);
  equal(planMemory(nodes, [20], { keepAll: true }).peakBytes, 21 * 64);
});

test("the plan of a graph holds for its largest sizes", () => {
  const g = new GraphBuilder();
  const n = g.symbol("n", 100);
  const x = g.input("x", f32(n, 16));
  g.output("y", g.exp(g.exp(g.exp(x))));
  equal(planGraph(g.build(), { alignment: 1 }).peakBytes, 3 * 100 * 16 * 4);
  const graph = everyOpGraph();
  deepEqual(planGraph(graph), planGraph(graph));
});

test("bytes of values", () => {
  const shape = [3, 5];
  equal(storageBytes({ element: "f32", shape }), 60);
  equal(storageBytes({ element: "bool", shape }), 15);
  equal(storageBytes({ element: "i64", shape }), 120);
  equal(storageBytes({ element: "bfp", shape, bits: 8, scaled: true }), 15 + 3 * 5);
  equal(storageBytes({ element: "bfp", shape, bits: 9, scaled: false }), 30 + 3 * 4);
});

/** Whether a value or a reshape of it is made or read at `now`, or before and after it. */
function isAlive(
  nodes: readonly PlannedNode[],
  output: number,
  value: number,
  now: number,
  keepAll: boolean,
): boolean {
  const root = (i: number): number => (nodes[i]!.op === "reshape" ? root(nodes[i]!.inputs[0]!) : i);
  if (nodes[value]!.op === "input") return true;
  if (now < value) return false;
  if (keepAll || root(output) === value) return true;
  return nodes.some((node, i) => i >= now && node.inputs.some((input) => root(input) === value));
}
