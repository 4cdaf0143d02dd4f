// Graphs from untrusted bytes: total, bounded by the input's length, and only canonical bytes pass.

import { DecodeError, decodeWith, equalBytes } from "gyrotron/base";
import { TensorError } from "../error.ts";
import { encodeGraph } from "./encode.ts";
import { graphCodec } from "./graph-codec.ts";
import type { Graph } from "./graph.ts";
import { createGraph } from "./graph.ts";
import { GRAPH_LIMITS } from "./op-list.ts";

/**
 * The graph of canonical bytes; all types are inferred anew.
 * @throws DecodeError `tensor/decode` if the bytes are no graph, or not the canonical ones
 * @throws TensorError if they are one whose nodes, names or sizes are not valid
 */
export function decodeGraph(bytes: Uint8Array): Graph {
  if (bytes.length > GRAPH_LIMITS.bytes) {
    const { bytes: limit } = GRAPH_LIMITS;
    throw new TensorError({
      code: "tensor/limit",
      what: "bytes of a graph",
      limit,
      actual: bytes.length,
    });
  }
  const read = readGraph(bytes);
  const graph = createGraph(read.symbols, read.nodes, read.outputs);
  const canonical = encodeGraph(graph);
  if (equalBytes(canonical, bytes)) return graph;
  const offset = canonical.findIndex((byte, i) => byte !== bytes[i]);
  throw new DecodeError({
    code: "tensor/decode",
    what: "bytes are not canonical",
    offset: offset < 0 ? canonical.length : offset,
  });
}

function readGraph(bytes: Uint8Array): Graph {
  try {
    return decodeWith(graphCodec, bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const { what, offset } = error.info;
    throw new DecodeError({ code: "tensor/decode", what, offset }, { cause: error });
  }
}
