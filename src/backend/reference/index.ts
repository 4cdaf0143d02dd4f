// The oracle as a backend.

import {
  type Backend,
  checkOpCall,
  type GraphBackend,
  type OpCall,
  type OpResult,
  placeOnHost,
} from "gyrotron/tensor";
import { ReferenceDecoder } from "./decoder.ts";
import { EXACT_GRAPH_OPS, type GraphOps, runReferenceGraph } from "./graph.ts";
import { EXACT_OPS, type ReferenceOps } from "./ops.ts";

export { EXACT_GRAPH_OPS, type GraphOps } from "./graph.ts";
export { EXACT_OPS, type ReferenceOps } from "./ops.ts";

/** A backend that runs the definitions. The parameters exist for mutants: all but tests leave them out. */
export function createReferenceBackend(
  ops: ReferenceOps = EXACT_OPS,
  name = "oracle",
  graphOps: GraphOps = EXACT_GRAPH_OPS,
): Backend & GraphBackend {
  return {
    name,
    device: `${name}: BigInt on one thread`,
    async run(call) {
      checkOpCall(call);
      return runReference(ops, call);
    },
    runGraph: async (graph, inputs, options) => runReferenceGraph(graphOps, graph, inputs, options),
    placeTensors: placeOnHost,
    createDecoder: async (weights) => new ReferenceDecoder(weights, ops),
    close: async () => {},
  };
}

function runReference(ops: ReferenceOps, call: OpCall): OpResult {
  switch (call.op) {
    case "quantize":
      return { kind: "bfp", rows: ops.quantize(call.x, call.columns, call.bits) };
    case "matmul":
      return f32Result(ops.matmul(call.left, call.leftBits, call.weights), call.weights.outputs);
    case "add":
      return f32Result(ops.add(call.left, call.right), call.columns);
    case "multiply":
      return f32Result(ops.multiply(call.left, call.right), call.columns);
    case "embed":
      return f32Result(ops.embed(call.table, call.columns, call.tokens), call.columns);
    case "argmax":
      return { kind: "i32", values: ops.argmax(call.x, call.columns) };
    case "rms-norm":
      return f32Result(ops.rmsNorm(call.x, call.columns, call.epsilon), call.columns);
    case "rotary":
      return f32Result(ops.rotary(call), call.heads * call.headSize);
    case "attention":
      return f32Result(ops.attention(call), call.heads * call.headSize);
    case "silu":
      return f32Result(ops.silu(call.x), call.columns);
  }
}

function f32Result(values: Float32Array, columns: number): OpResult {
  const at = values.findIndex((x) => !Number.isFinite(x));
  return at < 0 ? { kind: "f32", values } : { kind: "non-finite", row: Math.floor(at / columns) };
}
