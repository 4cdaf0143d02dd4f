// Ops along the last axis (docs/spec/01-numerics.md sections 6, 7, 16 and 17) in the oracle.

import {
  argmaxRow,
  cosinePhase,
  crossEntropyRow,
  layerNormRow,
  logSoftmaxRow,
  meanRow,
  phaseOf,
  quantizeRow,
  rankRow,
  rmsNormRow,
  roundToF32,
  sinePhase,
  softmaxRow,
  sumRow,
  varianceRow,
} from "gyrotron/numerics";
import type { HostTensor, ReduceOp } from "gyrotron/tensor";
import {
  f32Reduced,
  f32Result,
  f32Rows,
  i32Of,
  i32Result,
  indexFailure,
  type NodeOf,
  type NodeOutcome,
  rowLength,
} from "./graph-value.ts";

type Inputs = readonly HostTensor[];

export function reduce(node: NodeOf<ReduceOp>, [x]: Inputs): NodeOutcome {
  const by = {
    sum: (row: Float32Array) => sumRow(row, node.bits),
    mean: (row: Float32Array) => meanRow(row, node.bits),
    variance: varianceRow,
  };
  return f32Reduced(node, f32Rows(x).map(by[node.op]));
}

export function reduceMax(node: NodeOf<"reduce-max">, [x]: Inputs): NodeOutcome {
  return f32Reduced(
    node,
    f32Rows(x).map((row) => row[argmaxRow(row)]!),
  );
}

export function argmax(node: NodeOf<"argmax">, [x]: Inputs): HostTensor {
  return i32Result(node, f32Rows(x).map(argmaxRow));
}

export function topK(node: NodeOf<"top-k">, [x]: Inputs): HostTensor {
  const count = rowLength(node.type.shape);
  return i32Result(
    node,
    f32Rows(x).flatMap((row) => rankRow(row).slice(0, count)),
  );
}

export function rmsNorm(node: NodeOf<"rms-norm">, [x]: Inputs): NodeOutcome {
  return f32Result(
    node,
    f32Rows(x).flatMap((row) => rmsNormRow(row, node.epsilon)),
  );
}

export function layerNorm(node: NodeOf<"layer-norm">, [x]: Inputs): NodeOutcome {
  return f32Result(
    node,
    f32Rows(x).flatMap((row) => layerNormRow(row, node.epsilon)),
  );
}

export function softmax(node: NodeOf<"softmax">, [x]: Inputs): NodeOutcome {
  const columns = rowLength(node.type.shape);
  const queries = node.type.shape.at(-2) ?? 1;
  const values = f32Rows(x).flatMap((row, r) => {
    if (columns === 0) return [];
    const visible = node.causal ? columns - queries + (r % queries) + 1 : columns;
    const hidden = Array.from({ length: columns - visible }, () => 0);
    return [...softmaxRow(row.subarray(0, visible)), ...hidden];
  });
  return f32Result(node, values);
}

export function logSoftmax(node: NodeOf<"log-softmax">, [x]: Inputs): NodeOutcome {
  return f32Result(
    node,
    f32Rows(x).flatMap((row) => (row.length === 0 ? [] : logSoftmaxRow(row))),
  );
}

export function crossEntropy(
  node: NodeOf<"cross-entropy">,
  [logits, targets]: Inputs,
): NodeOutcome {
  const at = i32Of(targets);
  const failure = indexFailure(at, rowLength(logits!.shape));
  if (failure !== undefined) return failure;
  return f32Reduced(
    node,
    f32Rows(logits).map((row, r) => crossEntropyRow(row, at[r]!)),
  );
}

/** Section 7; `inverse` turns the other way, by the negated sine. */
export function rotary(node: NodeOf<"rotary">, [x, positions]: Inputs): NodeOutcome {
  const at = i32Of(positions);
  const size = rowLength(node.type.shape);
  const heads = node.type.shape.at(-2)!;
  const values = f32Rows(x).flatMap((slice, unit) => {
    const { mantissas, exponent } = quantizeRow(slice, 16);
    const position = at[Math.floor(unit / heads)]!;
    const turned = Array.from(slice);
    for (let i = 0; i < size / 2; i++) {
      const a = node.interleaved ? 2 * i : i;
      const b = node.interleaved ? 2 * i + 1 : i + size / 2;
      const phase = phaseOf(position, node.steps[i]!);
      const c = BigInt(cosinePhase(phase));
      const s = BigInt(sinePhase(phase)) * (node.inverse ? -1n : 1n);
      turned[a] = roundToF32(mantissas[a]! * c - mantissas[b]! * s, exponent - 15);
      turned[b] = roundToF32(mantissas[a]! * s + mantissas[b]! * c, exponent - 15);
    }
    return turned;
  });
  return f32Result(node, values);
}
