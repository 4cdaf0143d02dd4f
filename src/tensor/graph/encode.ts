// The canonical bytes of a graph, and its identity.

import { encodeWith } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import { graphCodec } from "./graph-codec.ts";
import type { Graph } from "./graph.ts";

/** The canonical bytes: equal graphs and only those have equal bytes. */
export function encodeGraph(graph: Graph): Uint8Array {
  return encodeWith(graphCodec, graph);
}

/** The identity of a graph: SHA-256 of its canonical bytes, which hold the op table's version. */
export function hashGraph(graph: Graph): Uint8Array {
  return sha256(encodeGraph(graph));
}
