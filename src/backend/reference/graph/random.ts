// Counter-based randomness in graphs (docs/spec/01-numerics.md sections 12 and 21) in the oracle.

import { decodeF32, roundToF32, randomU64, sampleRow, threefry } from "gyrotron/numerics";
import { elementCount, type HostTensor } from "gyrotron/tensor";
import {
  f32Of,
  f32Result,
  f32Rows,
  i32Of,
  i32Result,
  type NodeOf,
  type NodeOutcome,
} from "./graph-value.ts";

type Inputs = readonly HostTensor[];

export function randomBits(node: NodeOf<"random-bits">, [key]: Inputs): HostTensor {
  return i32Result(node, drawWords(key, elementCount(node.type.shape)));
}

export function dropout(node: NodeOf<"dropout">, [x, key]: Inputs): NodeOutcome {
  const words = drawWords(key, elementCount(node.type.shape));
  const values = Array.from(f32Of(x), (value, i) => {
    if (words[i]! >>> 16 >= node.keep) return 0;
    const { mantissa, exponent } = decodeF32(value);
    return roundToF32(mantissa, exponent + 16, BigInt(node.keep));
  });
  return f32Result(node, values);
}

export function sample(node: NodeOf<"sample">, [logits, keys]: Inputs): HostTensor {
  const words = Array.from(i32Of(keys), (word) => word >>> 0);
  const drawn = f32Rows(logits).map((row, r) => {
    const [low, high, sequence, position] = words.slice(4 * r, 4 * r + 4) as [
      number,
      number,
      number,
      number,
    ];
    const seed = (BigInt(high) << 32n) | BigInt(low);
    return sampleRow(row, node, randomU64({ seed, sequence, purpose: 1, position }));
  });
  return i32Result(node, drawn);
}

/** The first word of the block of each index, under the key of four words. */
function drawWords(key: HostTensor | undefined, count: number): number[] {
  const [low, high, sequence, purpose] = Array.from(i32Of(key), (word) => word >>> 0) as [
    number,
    number,
    number,
    number,
  ];
  const stream = threefry([low, high], [sequence, purpose]);
  return Array.from({ length: count }, (_, i) => threefry(stream, [i, 0])[0]);
}
