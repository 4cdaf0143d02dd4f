// From a resolved graph to a plan: every op has its case here.

import type { Node, ResolvedGraph } from "gyrotron/tensor";
import { elementCount } from "gyrotron/tensor";
import type { WgslPiece } from "../wgsl/piece.ts";
import { planAttention, planRotary } from "./attention-ops.ts";
import { planContraction, planGridCheck } from "./contraction-ops.ts";
import { planElementwise } from "./elementwise.ts";
import { type Fusion, fuse } from "./fuse.ts";
import {
  planGather,
  planScatterAdd,
  planTakeAlong,
  planTopK,
  planWindow,
  wordOfValue,
} from "./index-ops.ts";
import { planConcat, planPad, planView } from "./layout-ops.ts";
import { Plan, wordsOf } from "./plan.ts";
import { planRandomBits, planSample } from "./random-ops.ts";
import { planRows } from "./row-ops.ts";

/** Settings that change no bit. */
export interface CompileOptions {
  /** Computes each node by itself, so that every value is there. */
  readonly trace: boolean;
  /** The dot product of bytes that the device computes rightly. */
  readonly dot: WgslPiece;
  /** Storage buffers that a kernel may have. */
  readonly buffers: number;
  /** Threads of a row; chosen by its length if left out. */
  readonly rowWorkgroup: number | undefined;
  /** Inputs that are on the device already. */
  readonly resident?: ReadonlySet<string>;
}

/** Nodes in one elementwise kernel at most. */
const MEMBERS_MAX = 32;
/** Bindings that every kernel may need besides its values: the status and the tables of functions. */
const OWN_BUFFERS = 2;

/** The plan of a graph. @throws TensorError `tensor/unsupported` */
export function compileGraph(graph: ResolvedGraph, options: CompileOptions): Plan {
  const plan = new Plan(graph, options.dot, options.rowWorkgroup, options.resident);
  const fusion = fuse(graph, {
    buffers: options.buffers - OWN_BUFFERS,
    members: options.trace ? 1 : MEMBERS_MAX,
  });
  const inGroup = new Set([...fusion.groups.values()].flatMap(({ members }) => members));
  graph.nodes.forEach((node, index) => {
    const group = fusion.groups.get(index);
    if (group !== undefined) {
      for (const member of group.members) planEmptyGridCheck(plan, member);
      planElementwise(plan, group, fusion.views);
    } else if (!inGroup.has(index)) planNode(plan, index, node, fusion);
  });
  return plan;
}

function planNode(plan: Plan, index: number, node: Node<number>, fusion: Fusion): void {
  switch (node.op) {
    case "input":
      plan.alias(index, plan.inputSlot(node.name, wordsOf(node.type)));
      return;
    case "constant":
      plan.alias(index, plan.constant(node.value, wordsOf(node.type)));
      return;
    case "reshape":
      plan.alias(index, plan.input(node, 0));
      return;
    case "broadcast":
      if (fusion.views.has(index)) return;
      planView(plan, index, node);
      return;
    case "transpose":
    case "slice":
      planView(plan, index, node);
      return;
    case "concat":
      planConcat(plan, index, node);
      return;
    case "pad":
      planPad(plan, index, node, wordOfValue(node));
      return;
    case "gather":
      planGather(plan, index, node);
      return;
    case "scatter-add":
      planScatterAdd(plan, index, node);
      return;
    case "take-along":
      planTakeAlong(plan, index, node);
      return;
    case "patches":
    case "fold":
      planWindow(plan, index, node);
      return;
    case "top-k":
      planTopK(plan, index, node);
      return;
    case "sum":
    case "mean":
    case "variance":
    case "reduce-max":
    case "argmax":
    case "rms-norm":
    case "layer-norm":
    case "softmax":
    case "log-softmax":
    case "cross-entropy":
    case "quantize":
    case "quantize-columns":
      planRows(plan, index, node);
      return;
    case "matmul":
    case "matmul-grid":
      planContraction(plan, index, node);
      return;
    case "rotary":
      planRotary(plan, index, node);
      return;
    case "attention":
    case "attention-scores":
    case "attention-combine":
      planAttention(plan, index, node);
      return;
    case "random-bits":
      planRandomBits(plan, index, node);
      return;
    case "sample":
      planSample(plan, index, node);
      return;
    default:
      // Elementwise nodes are in a group.
      plan.value(index);
  }
}

/** A grid out of range fails also where no element sees it. */
function planEmptyGridCheck(plan: Plan, index: number): void {
  const node = plan.node(index);
  if (node.op !== "to-grid" && node.op !== "from-grid") return;
  if (elementCount(node.type.shape) === 0) planGridCheck(plan, index, plan.input(node, 1));
}
