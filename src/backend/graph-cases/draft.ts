// Writing graphs of conformance cases: nodes with their types spelled out, so that the cases depend on nothing
// but the op table. Every value that no other node uses is an output.

import { assert } from "gyrotron/base";
import {
  elementCount,
  type HostTensor,
  type Node,
  type Op,
  type ResolvedGraph,
  rowCount,
  type RunInputs,
  type TensorType,
} from "gyrotron/tensor";
import { CaseValues } from "../case-values.ts";

/** A graph and its inputs, with a stable name. */
export interface GraphCase {
  readonly id: string;
  readonly graph: ResolvedGraph;
  readonly inputs: RunInputs;
}

/** A value of a draft. */
export interface Value {
  readonly node: number;
  readonly type: TensorType<number>;
}

/** The type of f32 of a shape. */
export function f32Type(shape: readonly number[]): TensorType<number> {
  return { element: "f32", shape };
}

export function i32Type(shape: readonly number[]): TensorType<number> {
  return { element: "i32", shape };
}

export function boolType(shape: readonly number[]): TensorType<number> {
  return { element: "bool", shape };
}

export function i64Type(shape: readonly number[]): TensorType<number> {
  return { element: "i64", shape };
}

export function bfpType(
  shape: readonly number[],
  bits: number,
  scaled = false,
): TensorType<number> {
  return { element: "bfp", shape, bits, scaled };
}

/** A graph in the making. */
export class GraphDraft {
  readonly id: string;
  /** Draws of the case. */
  readonly draw: CaseValues;
  readonly #nodes: Node<number>[] = [];
  readonly #inputs: Record<string, HostTensor> = {};

  constructor(id: string) {
    this.id = id;
    this.draw = new CaseValues(id);
  }

  /** A node. */
  node(op: Op<number>, inputs: readonly Value[], type: TensorType<number>): Value {
    this.#nodes.push({ ...op, inputs: inputs.map((input) => input.node), type });
    return { node: this.#nodes.length - 1, type };
  }

  /** A node whose result has the type of its first operand. */
  like(op: Op<number>, ...inputs: readonly Value[]): Value {
    return this.node(op, inputs, inputs[0]!.type);
  }

  input(value: HostTensor): Value {
    const name = `x${this.#nodes.length}`;
    this.#inputs[name] = value;
    return this.node({ op: "input", name, role: "data" }, [], typeOf(value));
  }

  constant(value: HostTensor): Value {
    return this.node({ op: "constant", value }, [], typeOf(value));
  }

  f32(shape: readonly number[], values?: ArrayLike<number>): Value {
    const data = Float32Array.from(values ?? this.draw.moderate(elementCount(shape)));
    return this.input(sized({ element: "f32", shape, data }));
  }

  i32(shape: readonly number[], values: ArrayLike<number>): Value {
    return this.input(sized({ element: "i32", shape, data: Int32Array.from(values) }));
  }

  bool(shape: readonly number[], values: ArrayLike<number>): Value {
    return this.input(sized({ element: "bool", shape, data: Uint8Array.from(values) }));
  }

  i64(shape: readonly number[], values: readonly bigint[]): Value {
    return this.input(sized({ element: "i64", shape, data: BigInt64Array.from(values) }));
  }

  /** Random mantissas, and exponents within a range. */
  bfp(
    shape: readonly number[],
    bits: number,
    exponents: readonly [number, number],
    scaled = false,
  ): Value {
    const rows = this.draw.bfp(rowCount(shape), shape.at(-1)!, bits, exponents);
    const scales = Uint8Array.from(rows.exponents, () => this.draw.integer(128, 255));
    return this.input({
      element: "bfp",
      shape,
      bits,
      data: rows.mantissas,
      exponents: rows.exponents,
      scales: scaled ? scales : undefined,
    });
  }

  /** Rows as mantissas; the same node for the same rows. */
  quantize(x: Value, bits: number): Value {
    const node = this.#nodes.findIndex(
      (other) => other.op === "quantize" && other.bits === bits && other.inputs[0] === x.node,
    );
    if (node >= 0) return { node, type: this.#nodes[node]!.type };
    return this.node({ op: "quantize", bits }, [x], bfpType(x.type.shape, bits));
  }

  /** Weights by columns, scaled. */
  pack(x: Value, bits: 8 | 14): Value {
    return this.node({ op: "quantize-columns", bits }, [x], bfpType(x.type.shape, bits, true));
  }

  matmul(left: Value, right: Value): Value {
    const shape = [...left.type.shape.slice(0, -1), right.type.shape.at(-2)!];
    return this.node({ op: "matmul" }, [left, right], f32Type(shape));
  }

  reshape(x: Value, shape: readonly number[]): Value {
    return this.node({ op: "reshape" }, [x], { ...x.type, shape });
  }

  transpose(x: Value, ...permutation: number[]): Value {
    const shape = permutation.map((axis) => x.type.shape[axis]!);
    return this.node({ op: "transpose", permutation }, [x], { ...x.type, shape });
  }

  broadcast(x: Value, shape: readonly number[]): Value {
    return this.node({ op: "broadcast" }, [x], { ...x.type, shape });
  }

  /** The case; a draft is finished once. */
  finish(): GraphCase {
    const used = new Set(this.#nodes.flatMap((node) => node.inputs));
    const sinks = this.#nodes.flatMap((node, i) =>
      used.has(i) || node.op === "input" ? [] : [{ name: `y${i}`, node: i }],
    );
    assert(sinks.length > 0, "a case without a result");
    return { id: this.id, graph: { nodes: this.#nodes, outputs: sinks }, inputs: this.#inputs };
  }
}

/** A case of one draft. */
export function graphCase(id: string, write: (draft: GraphDraft) => void): GraphCase {
  const draft = new GraphDraft(`graph/${id}`);
  write(draft);
  return draft.finish();
}

/** `count` items made by index. */
export function list<T>(count: number, item: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => item(i));
}

function typeOf(value: HostTensor): TensorType<number> {
  const { element, shape } = value;
  if (element !== "bfp") return { element, shape };
  return { element, shape, bits: value.bits, scaled: value.scales !== undefined };
}

function sized(value: HostTensor): HostTensor {
  assert(value.data.length === elementCount(value.shape), "elements missing in a case");
  return value;
}
