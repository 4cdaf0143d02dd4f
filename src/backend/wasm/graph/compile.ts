// Turns a resolved graph into records: first what each node needs of memory, then, once places are known,
// its kernel calls. Ops that move values are in compile-move.ts, integers and contractions in
// compile-contract.ts.

import { assert } from "gyrotron/base";
import { temperatureScale } from "gyrotron/numerics";
import {
  elementCount,
  type Node,
  type ResolvedGraph,
  rowCount,
  type TensorType,
} from "gyrotron/tensor";
import { epsilonWords } from "../../epsilon-words.ts";
import { compileAttention, compileMatmul, contractionWorkspace } from "./compile-contract.ts";
import { compileMove, moveWorkspace } from "./compile-move.ts";
import { Emitter, type NodeContext } from "./emitter.ts";
import { keepsOrder } from "./move.ts";
import type { NodeNeed } from "./placement.ts";
import { columnsOf, exponentsOffset, paddedColumns, scalesOffset } from "./storage.ts";

const BINARY = ["add", "sub", "mul", "div", "min", "max"];
const SIMPLE_UNARY = ["neg", "abs", "sqrt", "relu"];
const FUNCTIONS = [
  ...["rsqrt", "exp", "exp2", "log", "tanh", "sigmoid", "erf", "gelu", "gelu-tanh", "silu"],
];
const REDUCTIONS = ["sum", "mean", "variance"];
const COMPARE = ["equal", "less", "less-or-equal"];

/** Whether each node is a matrix (or several) turned round that only quantize reads, which reads it as it lies. */
export function turnedForQuantize(graph: ResolvedGraph): boolean[] {
  const found = graph.nodes.map((node, i) => {
    if (node.op !== "transpose" || node.type.element !== "f32") return false;
    const { permutation } = node;
    const last = permutation.length - 1;
    const swaps = permutation.every((axis, at) =>
      at < last - 1 ? axis === at : axis === (at === last ? last - 1 : last),
    );
    const isKept = graph.outputs.some((output) => output.node === i);
    return swaps && last >= 1 && !isKept && !keepsOrder(node.type.shape, permutation);
  });
  for (const node of graph.nodes) {
    if (node.op === "quantize") continue;
    for (const input of node.inputs) found[input] = false;
  }
  return found;
}

/** What a node needs of memory besides its value. */
export function needOf(graph: ResolvedGraph, index: number): Omit<NodeNeed, "isElsewhere"> {
  const node = graph.nodes[index]!;
  const types = node.inputs.map((input) => graph.nodes[input]!.type);
  const first = types[0];
  const isAlias =
    node.op === "reshape" ||
    (node.op === "convert" && first?.element === "bool" && node.type.element === "i32") ||
    (node.op === "transpose" && keepsRows(first!, node.permutation));
  return {
    isAlias,
    workspace: Math.max(moveWorkspace(node, types), contractionWorkspace(node, types)),
  };
}

/** Whether a transposition leaves elements, and of a bfp value the exponents of its rows, where they are. */
function keepsRows(type: TensorType<number>, permutation: readonly number[]): boolean {
  if (type.element !== "bfp") return keepsOrder(type.shape, permutation);
  return keepsOrder(type.shape.slice(0, -1), permutation.slice(0, -1));
}

/** Emits the records of a node that is no alias. */
export function compileNode(emitter: Emitter, at: NodeContext): void {
  const { node } = at;
  switch (node.op) {
    case "input":
    case "constant":
      return;
    case "reshape":
    case "iota":
    case "transpose":
    case "slice":
    case "concat":
    case "pad":
    case "broadcast":
    case "gather":
    case "scatter-add":
    case "take-along":
    case "patches":
    case "fold":
      return compileMove(emitter, at, node);
    case "neg":
    case "abs":
    case "sqrt":
    case "relu":
      return emitUnary(emitter, at, "simpleUnary", SIMPLE_UNARY.indexOf(node.op));
    case "rsqrt":
    case "exp":
    case "exp2":
    case "log":
    case "tanh":
    case "sigmoid":
    case "erf":
    case "gelu":
    case "gelu-tanh":
    case "silu":
      return emitUnary(emitter, at, "function", FUNCTIONS.indexOf(node.op));
    case "add":
    case "sub":
    case "mul":
    case "div":
    case "min":
    case "max": {
      const code = BINARY.indexOf(node.op);
      if (node.type.element === "i32") return emitInteger(emitter, at, code);
      const words = [at.inputs[0]!, at.inputs[1]!, at.out, columnsOf(node.type), code];
      return emitter.emit(at, "binary", elementCount(node.type.shape), words, "non-finite");
    }
    case "equal":
    case "less":
    case "less-or-equal":
      return emitInteger(
        emitter,
        at,
        COMPARE.indexOf(node.op) + (at.types[0]!.element === "f32" ? 6 : 9),
      );
    case "and":
      return emitInteger(emitter, at, 12);
    case "or":
      return emitInteger(emitter, at, 13);
    case "not":
      return emitInteger(emitter, at, 14);
    case "select": {
      const words = [at.inputs[0]!, at.inputs[1]!, at.out, at.inputs[2]!];
      return emitter.emit(at, "select", elementCount(node.type.shape), words);
    }
    case "convert": {
      const toF32 = node.type.element === "f32" ? 0 : 1;
      const words = [at.inputs[0]!, 0, at.out, 0, toF32];
      return emitter.emit(at, "convert", elementCount(node.type.shape), words);
    }
    case "matmul":
    case "matmul-grid":
    case "to-grid":
    case "grid-add":
    case "from-grid":
      return compileMatmul(emitter, at, node);
    case "rotary":
    case "attention":
    case "attention-scores":
    case "attention-combine":
      return compileAttention(emitter, at, node);
    default:
      return compileRows(emitter, at, node);
  }
}

function emitUnary(
  emitter: Emitter,
  at: NodeContext,
  kernel: "simpleUnary" | "function",
  code: number,
): void {
  const words = [at.inputs[0]!, 0, at.out, columnsOf(at.node.type), code];
  emitter.emit(at, kernel, elementCount(at.node.type.shape), words, "non-finite");
}

function emitInteger(emitter: Emitter, at: NodeContext, code: number): void {
  const words = [at.inputs[0]!, at.inputs[1] ?? at.inputs[0]!, at.out, 0, code];
  emitter.emit(at, "integer", elementCount(at.node.type.shape), words);
}

/** Ops on rows of the first operand, and random numbers. */
function compileRows(emitter: Emitter, at: NodeContext, node: Node<number>): void {
  const type = at.types[0]!;
  const columns = columnsOf(type);
  const rows = rowCount(type.shape);
  const head = [at.inputs[0]!, columns, at.out];
  const elements = elementCount(node.type.shape);
  switch (node.op) {
    case "sum":
    case "mean":
    case "variance": {
      const words = [...head, node.bits, REDUCTIONS.indexOf(node.op)];
      return emitter.emit(at, "reduce", rows, words, "non-finite");
    }
    case "reduce-max":
      return emitter.emit(at, "reduceMax", rows, head);
    case "argmax":
      return emitter.emit(at, "argmax", rows, head);
    case "top-k":
      emitter.needScratch(columns * 8);
      return emitter.emit(at, "topK", rows, [...head, columnsOf(node.type)]);
    case "rms-norm":
      return emitter.emit(at, "rmsNorm", columns === 0 ? 0 : rows, [
        ...head,
        ...epsilonWords(node.epsilon),
      ]);
    case "layer-norm":
      return emitter.emit(at, "layerNorm", columns === 0 ? 0 : rows, [
        ...head,
        ...layerEpsilonWords(node.epsilon),
      ]);
    case "softmax": {
      const queries = node.causal ? type.shape.at(-2)! : 0;
      return emitter.emit(at, "softmax", rows, [...head, queries]);
    }
    case "log-softmax":
      return emitter.emit(at, "logSoftmax", rows, head, "non-finite");
    case "cross-entropy": {
      emitter.needScratch(columns * 4);
      const targets = at.inputs[1]!;
      emitter.emit(at, "checkIndices", rows, [targets, columns, 1], "index-out-of-range");
      return emitter.emit(at, "crossEntropy", rows, [...head, targets], "non-finite");
    }
    case "quantize":
    case "quantize-columns": {
      const out = [at.out + exponentsOffset(node.type), paddedColumns(node.type), node.bits];
      if (at.isTurned) {
        const [matrix, count] = [elementCount(type.shape.slice(0, -2)), type.shape.at(-2)!];
        const units = matrix * Math.ceil(count / 16);
        emitter.needScratch((columns + 1) * 64);
        return emitter.emit(at, "quantizeTurned", units, [...head, ...out, count]);
      }
      if (node.op === "quantize") return emitter.emit(at, "quantize", rows, [...head, ...out]);
      const scales = at.out + scalesOffset(node.type);
      return emitter.emit(at, "quantizeColumns", rows, [...head, ...out, scales]);
    }
    case "dequantize": {
      assert(type.element === "bfp", "dequantize of a plain value");
      const exponents = at.inputs[0]! + exponentsOffset(type);
      const scales = type.scaled ? at.inputs[0]! + scalesOffset(type) : 0;
      const words = [...head, exponents, paddedColumns(type), scales];
      return emitter.emit(at, "dequantize", rows, words, "non-finite");
    }
    case "random-bits":
      return emitter.emit(at, "randomBits", elements, head);
    case "dropout": {
      const words = [...head, at.inputs[1]!, node.keep];
      return emitter.emit(at, "dropout", elements, words, "non-finite");
    }
    case "sample": {
      emitter.needScratch(columns * 12);
      const { temperature, topK, topP } = node;
      const scale =
        temperature === 0 ? { mantissa: 0, exponent: 0 } : temperatureScale(temperature);
      const words = [...head, at.inputs[1]!, scale.mantissa, scale.exponent, topK, topP];
      return emitter.emit(at, "sample", rows, words);
    }
    default:
      assert(false, `no kernel for ${node.op}`);
  }
}

/** Mantissa, exponent and floor of the mantissas' exponent, section 17. */
function layerEpsilonWords(epsilon: number): [number, number, number] {
  const [mantissa, exponent] = epsilonWords(epsilon);
  const log = 31 - Math.clz32(mantissa) + exponent;
  return [mantissa, exponent, mantissa === 0 ? -149 : Math.max(-149, Math.ceil((log - 29) / 2))];
}
