// Goal: equal graphs and only those have equal bytes, and no bytes do more than be refused. Method: round trips of
// graphs with every op, and truncated, mutated and random bytes against a bound of time and of memory.

import { deepEqual, equal, notDeepEqual, ok, throws } from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { DecodeError, GyrotronError } from "gyrotron/base";
import { GraphBuilder } from "./builder.ts";
import { decodeGraph } from "./decode.ts";
import { addDims } from "./dimension.ts";
import { encodeGraph, hashGraph } from "./encode.ts";
import type { Graph } from "./graph.ts";
import { hostBool, hostF32, hostI32, hostI64 } from "./host-tensor.ts";
import { f32, i32, i64, scaledBfp } from "./op-builder.ts";
import { GRAPH_LIMITS, OP_KINDS } from "./op-list.ts";
import { everyOpGraph } from "./every-op-fixture.ts";

const graph = everyOpGraph();
const bytes = encodeGraph(graph);

test("a graph of every op comes back from its bytes", () => {
  deepEqual(new Set(graph.nodes.map(({ op }) => op)), new Set(OP_KINDS));
  deepEqual(decodeGraph(bytes), graph);
  deepEqual(encodeGraph(decodeGraph(bytes)), bytes);
});

test("the identity is pinned: it changes only with the op table or the encoding", () => {
  const g = new GraphBuilder();
  const n = g.symbol("batch", 64);
  const y = g.linear(g.input("x", f32(n, 4)), g.parameter("w", scaledBfp(8, 3, 4)), {
    bias: g.constant(hostF32([3], [1, -2, 0.5])),
  });
  g.output("y", g.softmax(y));
  const identity = "eb9a992c478f4af9adb0402436c134c53b294d25228ed23c5116ef113e57bcb8";
  equal(hashGraph(g.build()).toHex(), identity);
});

test("any part of a graph changes its identity", () => {
  const build = (edit: Partial<Record<string, number | string>>): Uint8Array => {
    const g = new GraphBuilder();
    const n = g.symbol("n", (edit["max"] as number | undefined) ?? 8);
    const x = g.input((edit["name"] as string | undefined) ?? "x", f32(addDims(n, 1)));
    const bits = (edit["bits"] as number | undefined) ?? 14;
    const y = g.add(
      g.dequantize(g.quantize(x, bits)),
      (edit["constant"] as number | undefined) ?? 2,
    );
    g.output((edit["output"] as string | undefined) ?? "y", y);
    return hashGraph(g.build());
  };
  const edits = [{ max: 9 }, { name: "z" }, { bits: 15 }, { constant: 3 }, { output: "z" }];
  deepEqual(build({}), build({}));
  for (const edit of edits) notDeepEqual(build(edit), build({}));
});

test("what no output needs, and equal nodes, leave no trace in the bytes", () => {
  const build = (withMore: boolean): Graph => {
    const g = new GraphBuilder();
    const x = g.input("x", f32(2));
    if (withMore) {
      g.symbol("unused", 3);
      g.exp(g.input("dead", f32(2)));
      g.neg(x);
    }
    g.output("y", g.add(g.neg(x), g.neg(x)));
    return g.build();
  };
  deepEqual(encodeGraph(build(true)), encodeGraph(build(false)));
  equal(build(true).nodes.length, 3);
});

test("every truncation is refused with its place", () => {
  for (let length = 0; length < bytes.length; length++) {
    throws(
      () => decodeGraph(bytes.subarray(0, length)),
      (error) => error instanceof DecodeError && error.info.code === "tensor/decode",
    );
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  throws(() => decodeGraph(longer), /tensor\/decode .*trailing bytes/);
});

test("mutated bytes are refused, or are the canonical bytes of another graph", () => {
  let passed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (edits) => {
        const mutated = bytes.slice();
        for (const [at, byte] of edits) mutated[at] = byte;
        if (accepts(mutated)) passed++;
      },
    ),
    { numRuns: 1500, seed: 26 },
  );
  ok(passed > 0, "some mutations only change a constant");
});

test("every byte of a small graph, changed in every bit and to the ends, is refused or canonical", () => {
  const g = new GraphBuilder();
  const n = g.symbol("n", 3);
  g.output("y", g.slice(g.input("x", f32(n, 2)), 0, 0, addDims(n, -1)));
  const small = encodeGraph(g.build());
  for (let at = 0; at < small.length; at++) {
    const bits = [1, 2, 4, 8, 16, 32, 64, 128].map((bit) => small[at]! ^ bit);
    for (const byte of [...bits, 0, 255, small[at]! + 1]) {
      const mutated = small.slice();
      mutated[at] = byte;
      accepts(mutated);
    }
  }
});

test("random bytes behind a good beginning are refused without much work", () => {
  const starts = [0, 8, 12, 40, 200];
  fc.assert(
    fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 400 }), (start, tail) => {
      const mixed = new Uint8Array(start + tail.length);
      mixed.set(bytes.subarray(0, start));
      mixed.set(tail, start);
      accepts(mixed);
    }),
    { numRuns: 2000, seed: 27 },
  );
});

test("counts beyond the limits are refused before anything is allocated", () => {
  const huge = bytes.slice();
  new DataView(huge.buffer).setUint32(8, 0xffff_ffff, true);
  throws(() => decodeGraph(huge), /tensor\/decode .*count past the end/);
  const version = bytes.slice();
  version[4] = 2;
  throws(() => decodeGraph(version), /tensor\/decode .*op table version 2/);
  const magic = bytes.slice();
  magic[0] = 0;
  throws(() => decodeGraph(magic), /tensor\/decode .*not a graph/);
  const long = { length: GRAPH_LIMITS.bytes + 1 } as Uint8Array;
  throws(() => decodeGraph(long), /tensor\/limit .*bytes of a graph/);
});

test("constants of every element come back bit by bit", () => {
  const g = new GraphBuilder();
  const values = [
    hostF32([2, 2], [1.5, -0, 2 ** -149, 3e38]),
    hostI32([3], [-(2 ** 31), 0, 2 ** 31 - 1]),
    hostBool([2], [true, false]),
    hostI64([2], [-(2n ** 62n) + 1n, 5n]),
    {
      element: "bfp" as const,
      shape: [2, 2],
      bits: 14,
      data: Int32Array.of(8191, -8191, 0, 1),
      exponents: Int32Array.of(-149, 122),
      scales: Uint8Array.of(128, 255),
    },
  ];
  for (const [i, value] of values.entries()) g.output(`y${i}`, g.constant(value));
  g.output("sum", g.gridAdd(g.constant(values[3]!), g.input("z", i64(2))));
  g.output("rows", g.gather(g.input("table", f32(4, 2)), g.input("at", i32(1))));
  const coded = encodeGraph(g.build());
  const constants = decodeGraph(coded).nodes.filter((node) => node.op === "constant");
  deepEqual(
    constants.map((node) => node.value),
    [hostF32([2, 2], [1.5, 0, 2 ** -149, 3e38]), ...values.slice(1)],
  );
});

/** Whether bytes decode; whatever else happens fails the test. */
function accepts(candidate: Uint8Array): boolean {
  const startedMs = performance.now();
  try {
    const decoded = decodeGraph(candidate);
    deepEqual(encodeGraph(decoded), candidate);
    return true;
  } catch (error) {
    if (!(error instanceof GyrotronError)) throw error;
    return false;
  } finally {
    ok(performance.now() - startedMs < 2_000, "decoding takes too long");
  }
}
