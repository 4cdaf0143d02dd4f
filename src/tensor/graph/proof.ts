// The overflow proof of a graph: every accumulator of every op, with the largest magnitude that it can reach at
// the largest sizes, fits its width. A graph that cannot be proven is refused before it runs.

import { present } from "gyrotron/base";
import { TensorError } from "../error.ts";
import { ATTENTION_BITS, GRID_BITS, mantissaMax, productsBeforeSpill } from "../precision.ts";
import type { Dim, DimBounds } from "./dimension.ts";
import { dimBounds, maximumOfDim } from "./dimension.ts";
import type { Graph } from "./graph.ts";
import type { Node } from "./op.ts";
import type { BfpType, TensorType } from "./value.ts";

/** One accumulator and the largest magnitude that it can hold. */
export interface AccumulatorProof {
  readonly node: number;
  readonly op: Node<Dim>["op"];
  /** What is accumulated. */
  readonly accumulator: string;
  /** Signed width: 32 and 64 are machine words, 54 is what a binary64 holds exactly. */
  readonly bits: 32 | 54 | 64;
  /** Terms added before it is emptied into a wider one, or in all. */
  readonly terms: number;
  readonly bound: bigint;
}

/**
 * Every accumulator of a graph at the largest sizes.
 * @throws TensorError `tensor/overflow` for the first that could overflow
 */
export function proveGraph(graph: Graph): AccumulatorProof[] {
  const bounds = dimBounds(graph.symbols);
  return graph.nodes.flatMap((node, index) => {
    const operands = node.inputs.map((input) => present(graph.nodes[input]).type);
    return accumulatorsOf(node, operands, bounds).map((claim) => prove(index, node.op, claim));
  });
}

interface Claim {
  readonly accumulator: string;
  readonly bits: 32 | 54 | 64;
  readonly terms: number;
  /** Largest magnitude of one term. */
  readonly term: bigint;
  /** What is added once, besides the terms. */
  readonly offset?: bigint;
}

function prove(node: number, op: Node<Dim>["op"], claim: Claim): AccumulatorProof {
  const { accumulator, bits, terms, term, offset = 0n } = claim;
  const bound = BigInt(terms) * term + offset;
  if (terms >= 1 && bound >= 1n << BigInt(bits - 1)) {
    throw new TensorError({ code: "tensor/overflow", node, op, accumulator, bits, bound });
  }
  return { node, op, accumulator, bits, terms, bound };
}

function accumulatorsOf(
  node: Node<Dim>,
  operands: readonly TensorType<Dim>[],
  bounds: DimBounds,
): Claim[] {
  const [first, second] = operands;
  const columns = first?.shape.at(-1);
  const count = columns === undefined ? 0 : maximumOfDim(columns, bounds);
  switch (node.op) {
    case "matmul":
    case "matmul-grid":
      return contraction(present(first) as BfpType<Dim>, present(second) as BfpType<Dim>, count);
    case "sum":
    case "mean":
      return [mantissas("sum of mantissas", node.bits, count)];
    case "scatter-add": {
      const rows = maximumOfDim(present(first).shape[0]!, bounds);
      return [mantissas("sum of updates", 24, rows)];
    }
    case "fold": {
      const [height, width] = node.window.kernel;
      return [mantissas("sum of overlapping elements", 24, height * width)];
    }
    case "variance":
    case "layer-norm": {
      const m = BigInt(mantissaMax(GRID_BITS));
      const n = BigInt(count);
      // n * sum of squares - (sum)^2 is at most the first; epsilon adds at most n^2 * 2^30 (section 17).
      const offset = node.op === "layer-norm" ? (n * n) << 30n : 0n;
      return [
        { accumulator: "sum of mantissas", bits: 32, terms: count, term: m },
        { accumulator: "scaled squares", bits: 64, terms: count, term: n * m * m, offset },
      ];
    }
    case "rms-norm": {
      const m = BigInt(mantissaMax(GRID_BITS));
      // epsilon adds at most n * 2^46 (section 6).
      const offset = BigInt(count) << 46n;
      return [{ accumulator: "sum of squares", bits: 64, terms: count, term: m * m, offset }];
    }
    case "softmax":
    case "log-softmax":
    case "cross-entropy":
      return [{ accumulator: "sum of weights", bits: 54, terms: count, term: 0xffffn << 16n }];
    case "sample":
      return [{ accumulator: "sum of weights", bits: 54, terms: count, term: 0xffffn << 16n }];
    case "attention": {
      const positions = maximumOfDim(present(second).shape[1]!, bounds);
      return [scores(count), ...shares(positions)];
    }
    case "attention-scores":
      return [scores(count)];
    case "attention-combine":
      return shares(maximumOfDim(present(second).shape[1]!, bounds));
    default:
      return [];
  }
}

function mantissas(accumulator: string, bits: number, terms: number): Claim {
  return { accumulator, bits: 54, terms, term: BigInt(mantissaMax(bits)) };
}

/** Partial sums in 32 bits up to the spill, their total in 64, and the total times the scale in a binary64. */
function contraction(left: BfpType<Dim>, right: BfpType<Dim>, length: number): Claim[] {
  const product = BigInt(mantissaMax(left.bits)) * BigInt(mantissaMax(right.bits));
  const spill = Math.min(length, productsBeforeSpill(left.bits, right.bits));
  const scale = right.scaled ? 255n : 1n;
  return [
    { accumulator: "products before a spill", bits: 32, terms: spill, term: product },
    { accumulator: "sum of products", bits: 64, terms: length, term: product },
    { accumulator: "scaled sum", bits: 54, terms: length, term: product * scale },
  ];
}

function scores(size: number): Claim {
  const m = BigInt(mantissaMax(ATTENTION_BITS));
  return { accumulator: "score", bits: 32, terms: size, term: m * m };
}

function shares(positions: number): Claim[] {
  const share = 32_767n;
  const m = BigInt(mantissaMax(ATTENTION_BITS));
  return [
    { accumulator: "sum of shares", bits: 32, terms: positions, term: share },
    { accumulator: "weighted values", bits: 64, terms: positions, term: share * m },
  ];
}
