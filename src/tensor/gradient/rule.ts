// What a gradient rule sees and gives. A rule is asked for the contributions to each operand, which are only
// computed where something that is differentiated depends on the operand.

import { assert, present } from "gyrotron/base";
import type { Dim, GraphBuilder, Node, OpKind, Value } from "../graph/index.ts";
import { type Contribution, total } from "./contribution.ts";

/** Widths that the way back uses. */
export interface GradientWidths {
  /** Of quantized operands of contractions. */
  readonly bits: number;
}

/** What a rule gives for one operand: nothing where it has no gradient. */
export type Backward = (() => readonly Contribution[]) | undefined;

/** The gradient of an op: an entry for each operand. */
export type Rule = (step: Step) => readonly Backward[];

/** Rules by op. Ops that are in no table have no gradient. */
export type RuleTable = Partial<Readonly<Record<OpKind, Rule>>>;

/** One node on the way back. */
export class Step {
  readonly graph: GraphBuilder;
  readonly node: Node<Dim>;
  readonly result: Value;
  readonly operands: readonly Value[];
  /** Parts of the gradient of the result; at least one. */
  readonly parts: readonly Contribution[];
  readonly widths: GradientWidths;
  #sum: Value | undefined;

  constructor(
    graph: GraphBuilder,
    result: Value,
    parts: readonly Contribution[],
    widths: GradientWidths,
  ) {
    this.graph = graph;
    this.node = graph.nodeOf(result);
    this.result = result;
    this.operands = this.node.inputs.map((index) => graph.valueAt(index));
    this.parts = parts;
    this.widths = widths;
  }

  /** The whole gradient of the result as f32 values. */
  get sum(): Value {
    this.#sum ??= total(this.graph, this.parts, this.result.shape);
    return this.#sum;
  }

  /** An operand. */
  operand(index: number): Value {
    return present(this.operands[index]);
  }

  /** The node, which is of one of these ops. */
  nodeAs<K extends Node<Dim>["op"]>(...ops: readonly K[]): Extract<Node<Dim>, { op: K }> {
    assert(
      ops.some((op) => op === this.node.op),
      "a rule sees only its ops",
    );
    return this.node as Extract<Node<Dim>, { op: K }>;
  }
}
