// Graphs compiled without a device: what is fused and what must not be, how buffers are shared, and that no
// kernel text of any case holds a float.

import assert from "node:assert/strict";
import test from "node:test";
import type { ResolvedGraph } from "gyrotron/tensor";
import { graphCases } from "../../graph-cases.ts";
import { f32Type, type GraphDraft, graphCase } from "../../graph-cases/draft.ts";
import { DOT_NATIVE, DOT_PLAIN } from "../wgsl/dot.ts";
import { allocate } from "./allocation.ts";
import { compileGraph } from "./compile.ts";
import { fuse } from "./fuse.ts";
import type { Plan } from "./plan.ts";

const BUFFERS = 8;

function planOf(graph: ResolvedGraph, trace = false, dot = DOT_NATIVE): Plan {
  return compileGraph(graph, { trace, dot, buffers: BUFFERS, rowWorkgroup: undefined });
}

function graphOf(write: (draft: GraphDraft) => void): ResolvedGraph {
  return graphCase("compile", write).graph;
}

/** The kernels of a graph, without those that copy. */
function kernelNames(graph: ResolvedGraph): string[] {
  return planOf(graph).steps.map(({ kernel }) => kernel.name);
}

test("no kernel of any case holds a float, and each fits the bindings of any adapter", () => {
  const texts = new Set<string>();
  for (const { id, graph } of graphCases(true)) {
    for (const trace of [false, true]) {
      const plan = planOf(graph, trace, trace ? DOT_PLAIN : DOT_NATIVE);
      for (const { kernel } of plan.steps) {
        texts.add(kernel.text);
        const storage = kernel.text.match(/var<storage/g) ?? [];
        assert.ok(storage.length <= BUFFERS, `${id}: ${storage.length} buffers`);
      }
    }
  }
  assert.ok(texts.size > 100, `only ${texts.size} kernels`);
  for (const text of texts) {
    const code = text.replace(/\/\/.*/g, "");
    // Literals are integers with a suffix, or none; types are integers, bools and structures of them.
    assert.doesNotMatch(code, /\b(f16|f32|f64|float|fma|vec\d[fh]|mat\dx\d\w*)\b/);
    assert.doesNotMatch(code, /[0-9]\.[0-9]|\b[0-9]+[fh]\b|\b[0-9]+e[0-9]/);
    assert.doesNotMatch(code, /\b(vec[234]|array)\s*\(/);
    for (const [, count] of code.matchAll(/(?:<<|>>) (\d+)u?/g)) assert.ok(Number(count) < 32);
  }
});

test("a chain is one kernel, with its broadcasts read in place", () => {
  const graph = graphOf((draft) => {
    const x = draft.f32([6, 5]);
    const gain = draft.broadcast(draft.f32([1, 5]), [6, 5]);
    const product = draft.like({ op: "mul" }, x, gain);
    const sum = draft.like({ op: "add" }, product, x);
    draft.like({ op: "max" }, draft.like({ op: "tanh" }, sum), product);
  });
  assert.deepEqual(kernelNames(graph), ["elementwise-mul-add-tanh-max"]);
  assert.equal(planOf(graph, true).steps.length, 5);
});

test("what another kernel must see first is not fused past it", () => {
  const graph = graphOf((draft) => {
    const x = draft.f32([6, 5]);
    const twice = draft.like({ op: "add" }, x, x);
    const norm = draft.like({ op: "rms-norm", epsilon: 0 }, twice);
    draft.like({ op: "mul" }, norm, twice);
  });
  const names = kernelNames(graph);
  assert.equal(names.length, 3);
  assert.deepEqual([names[0], names[2]], ["elementwise-add", "elementwise-mul"]);
});

test("dispatches of models", () => {
  const counts = graphCases(false).flatMap(({ id, graph }) => {
    if (!id.includes("/model/")) return [];
    const computed = graph.nodes.filter(({ op }) => op !== "input" && op !== "constant").length;
    return [`${id.split("/").at(-1)!}: ${planOf(graph).steps.length} for ${computed} ops`];
  });
  assert.deepEqual(counts, [
    "perceptron: 10 for 14 ops",
    "convolution: 13 for 19 ops",
    "transformer: 41 for 61 ops",
    "open-attention: 8 for 8 ops",
    "training-step: 22 for 25 ops",
  ]);
});

test("groups never wait for each other, whatever the graph", () => {
  for (let seed = 0; seed < 200; seed++) {
    const graph = randomGraph(seed);
    for (const buffers of [3, 6]) {
      for (const members of [1, 3, 32])
        checkOrder(graph, fuse(graph, { buffers, members }), members);
    }
  }
});

/** Every node is computed once, after all that it reads. */
function checkOrder(graph: ResolvedGraph, fusion: ReturnType<typeof fuse>, members: number): void {
  const done = new Set<number>();
  const grouped = new Set([...fusion.groups.values()].flatMap((group) => group.members));
  graph.nodes.forEach((_, i) => {
    const group = fusion.groups.get(i);
    const computed = group?.members ?? (grouped.has(i) ? [] : [i]);
    assert.ok(computed.length <= members);
    for (const member of computed) {
      assert.ok(!done.has(member));
      for (const input of graph.nodes[member]!.inputs) assert.ok(done.has(input));
      done.add(member);
    }
  });
  assert.equal(done.size, graph.nodes.length);
}

/** Adds, broadcasts, sums and negations of whatever came before. */
function randomGraph(seed: number): ResolvedGraph {
  return graphCase(`random ${seed}`, (draft) => {
    const values = [draft.f32([3, 4]), draft.f32([1, 4]), draft.f32([3, 4])];
    for (let i = 0; i < 14; i++) {
      const pick = () => values[draft.draw.integer(0, values.length - 1)]!;
      const wide = () => {
        const value = pick();
        return value.type.shape[0] === 3 ? value : draft.broadcast(value, [3, 4]);
      };
      const kind = draft.draw.integer(0, 4);
      if (kind === 0) {
        const sum = draft.node(
          { op: "sum", bits: 24 },
          [draft.transpose(wide(), 1, 0)],
          f32Type([4]),
        );
        values.push(draft.reshape(sum, [1, 4]));
      } else if (kind === 1) values.push(draft.like({ op: "neg" }, pick()));
      else values.push(draft.like({ op: "add" }, wide(), wide()));
    }
  }).graph;
}

test("buffers are shared, but never by two values that live at once", () => {
  let slots = 0;
  let buffers = 0;
  for (const { graph } of graphCases(false)) {
    const plan = planOf(graph);
    const kept = graph.outputs.map(({ node }) => plan.value(node));
    const { of, buffers: sizes } = allocate(plan, kept, false);
    const holds: (number | undefined)[] = sizes.map(() => undefined);
    plan.slots.forEach(({ index, writer }) => {
      const buffer = of[index]!;
      assert.ok(writer !== "graph" || buffer === -1);
      if (writer !== "run" || buffer < 0) return;
      assert.equal(holds[buffer], undefined, "two inputs in one buffer");
      holds[buffer] = index;
    });
    for (const { reads, writes } of plan.steps) {
      for (const { index, writer } of reads) {
        if (writer !== "graph") assert.equal(holds[of[index]!], index, "a value overwritten");
      }
      for (const { index, words } of writes) {
        assert.ok(sizes[of[index]!]! >= words);
        assert.ok(
          reads.every((slot) => of[slot.index] !== of[index]),
          "read and written",
        );
        holds[of[index]!] = index;
      }
    }
    for (const { index, words } of kept) {
      if (words > 0 && of[index] !== -1) assert.ok([index, undefined].includes(holds[of[index]!]));
    }
    slots += plan.slots.length;
    buffers += sizes.length;
  }
  assert.ok(buffers < slots);
});
