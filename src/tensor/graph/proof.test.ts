// The overflow proof: bounds are those that the widths allow, each claim is tight where it can be, and what is
// one too many is refused.

import { deepEqual, equal, ok } from "node:assert/strict";
import test from "node:test";
import { GraphBuilder } from "./builder.ts";
import { everyOpGraph } from "./every-op-fixture.ts";
import type { Graph } from "./graph.ts";
import { bfp, f32, scaledBfp, type TypeLike } from "./op-builder.ts";
import { type AccumulatorProof, proveGraph } from "./proof.ts";

function proofsOf(build: (g: GraphBuilder) => ReturnType<GraphBuilder["neg"]>): AccumulatorProof[] {
  const g = new GraphBuilder();
  g.output("y", build(g));
  return proveGraph(g.build());
}

function product(left: TypeLike, right: TypeLike): AccumulatorProof[] {
  return proofsOf((g) => {
    return g.matmul(g.input("a", left), g.input("b", right), { transposeB: true });
  });
}

test("a contraction spills before 32 bits overflow, at the widths of section 3", () => {
  const spills = (a: number, b: TypeLike): number => product(bfp(a, 1, 65_536), b)[0]!.terms;
  equal(spills(14, bfp(8, 1, 65_536)), 2_064);
  equal(spills(14, bfp(14, 1, 65_536)), 32);
  equal(spills(16, bfp(16, 1, 65_536)), 2);
  equal(spills(8, bfp(8, 1, 65_536)), 65_536);
  for (const [a, b] of [
    [8, 8],
    [14, 8],
    [14, 14],
    [16, 9],
    [16, 16],
  ] as const) {
    const [spill] = product(bfp(a, 1, 65_536), bfp(b, 1, 65_536));
    const term = BigInt(2 ** (a - 1) - 1) * BigInt(2 ** (b - 1) - 1);
    ok(spill!.bound < 2n ** 31n);
    ok(spill!.terms === 65_536 || spill!.bound + term >= 2n ** 31n, "one more would overflow");
  }
});

test("the largest contraction times its scale fits a binary64", () => {
  const [, sum, scaled] = product(bfp(16, 1, 65_536), scaledBfp(14, 1, 65_536));
  equal(sum!.bound, 65_536n * 32_767n * 8_191n);
  equal(scaled!.bound, 65_536n * 32_767n * 8_191n * 255n);
  ok(scaled!.bound < 2n ** 53n);
});

test("a head of 128 keeps its score in 32 bits, and shares of 2048 positions too", () => {
  const [score, shares, values] = proofsOf((g) => {
    const x = g.input("x", bfp(13, 1, 2_048, 1, 128));
    return g.attention(x, x, x);
  });
  deepEqual(score, {
    node: 1,
    op: "attention",
    accumulator: "score",
    bits: 32,
    terms: 128,
    bound: 128n * 4_095n ** 2n,
  });
  equal(shares!.bound, 2_048n * 32_767n);
  equal(values!.bound, 2_048n * 32_767n * 4_095n);
});

test("norms at their longest rows fit 64 bits", () => {
  const [mantissas, squares] = proofsOf((g) => g.layerNorm(g.input("x", f32(1, 32_767))));
  ok(mantissas!.bound < 2n ** 31n && squares!.bound < 2n ** 63n && squares!.bound > 2n ** 60n);
  const [rms] = proofsOf((g) => g.rmsNorm(g.input("x", f32(1, 65_536))));
  ok(rms!.bound < 2n ** 63n && rms!.bound > 2n ** 61n);
});

test("the proof is over the largest sizes of symbols", () => {
  const bound = (max: number): bigint => {
    return proofsOf((g) => g.sum(g.input("x", f32(g.symbol("n", max)))))[0]!.bound;
  };
  equal(bound(1_000), 1_000n * (2n ** 23n - 1n));
});

test("every op that adds up is in the proof", () => {
  const graph: Graph = everyOpGraph();
  const proven = new Set(proveGraph(graph).map(({ op }) => op));
  deepEqual([...proven].sort(compareText), [
    "attention",
    "attention-combine",
    "attention-scores",
    "cross-entropy",
    "fold",
    "layer-norm",
    "log-softmax",
    "matmul",
    "matmul-grid",
    "mean",
    "rms-norm",
    "sample",
    "scatter-add",
    "softmax",
    "sum",
    "variance",
  ]);
});

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
