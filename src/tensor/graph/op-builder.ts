// Building a graph node by node: inputs, constants, one method for every op of op.ts on operands that fit as
// they are, outputs. Equal nodes are one node. The friendlier forms (broadcasting, axes, layers) are in
// builder.ts.

import { encodeWith, formatHex } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import { TensorError } from "../error.ts";
import type { Dim, DimLike, DimSymbol } from "./dimension.ts";
import { constantOfDim, dim, dimBounds, dimOfSymbol, equalShapes } from "./dimension.ts";
import { nodeCodec } from "./graph-codec.ts";
import type { Graph, GraphOutput } from "./graph.ts";
import { createGraph } from "./graph.ts";
import { withoutNegativeZero } from "./host-tensor.ts";
import { inferType } from "./infer.ts";
import type { InputRole, Node, Op, UnaryOp } from "./op.ts";
import type { ElementType, HostTensor, TensorType } from "./value.ts";

/** A node of a graph under construction. */
export interface Value {
  readonly index: number;
  readonly type: TensorType<Dim>;
  /** Sizes of the axes. */
  readonly shape: readonly Dim[];
}

/** A type whose sizes may be numbers. */
export type TypeLike = TensorType<DimLike>;

/** The type of f32 values of a shape. */
export function f32(...shape: DimLike[]): TypeLike {
  return { element: "f32", shape };
}

/** The type of integers of a shape. */
export function i32(...shape: DimLike[]): TypeLike {
  return { element: "i32", shape };
}

/** The type of masks of a shape. */
export function bool(...shape: DimLike[]): TypeLike {
  return { element: "bool", shape };
}

/** The type of values on a gradient grid. */
export function i64(...shape: DimLike[]): TypeLike {
  return { element: "i64", shape };
}

/** The type of rows of mantissas of 8 to 16 bits, each with an exponent. */
export function bfp(bits: number, ...shape: DimLike[]): TypeLike {
  return { element: "bfp", shape, bits, scaled: false };
}

/** The type of weights of 8 or 14 bits, each row with an exponent and a scale. */
export function scaledBfp(bits: 8 | 14, ...shape: DimLike[]): TypeLike {
  return { element: "bfp", shape, bits, scaled: true };
}

/** Nodes, symbols and outputs of a graph that grows. */
export class OpBuilder {
  readonly #symbols: DimSymbol[] = [];
  readonly #nodes: Node<Dim>[] = [];
  readonly #values: Value[] = [];
  readonly #outputs: GraphOutput[] = [];
  readonly #known = new Map<string, Value>();
  #codec = nodeCodec([]);

  /** A size that each run chooses, from 0 to `max`. The same name gives the same size. */
  symbol(name: string, max: number): Dim {
    const other = this.#symbols.find((symbol) => symbol.name === name);
    if (other === undefined) {
      this.#symbols.push({ name, max });
      this.#codec = nodeCodec(this.#symbols);
    } else if (other.max !== max) throw fault(`the symbol ${name} with two maxima`);
    return dimOfSymbol(name);
  }

  /** A value that each run gives. */
  input(name: string, type: TypeLike, role: InputRole = "data"): Value {
    const isTaken = this.#nodes.some((node) => node.op === "input" && node.name === name);
    if (isTaken) throw fault(`two inputs named ${name}`);
    return this.node({ op: "input", name, role }, [], type);
  }

  /** An input that is trained. */
  parameter(name: string, type: TypeLike): Value {
    return this.input(name, type, "parameter");
  }

  /** An input that is carried from run to run; an output may update it. */
  state(name: string, type: TypeLike): Value {
    return this.input(name, type, "state");
  }

  /** A value that is part of the graph; a number is an f32 scalar. -0 becomes +0. */
  constant(value: HostTensor | number): Value {
    const tensor: HostTensor =
      typeof value === "number"
        ? { element: "f32", shape: [], data: Float32Array.of(value) }
        : value;
    const { shape } = tensor;
    const type = { element: tensor.element, shape } as TensorType<DimLike>;
    const full =
      tensor.element === "bfp"
        ? { ...type, bits: tensor.bits, scaled: tensor.scales !== undefined }
        : type;
    return this.node({ op: "constant", value: withoutNegativeZero(tensor) }, [], full as TypeLike);
  }

  /** Names a result. With `updates`, it is the next value of that state input. */
  output(name: string, value: Value, options: { updates?: string } = {}): void {
    this.#own(value);
    this.#outputs.push({ name, node: value.index, updates: options.updates });
  }

  /** The graph of what the outputs need. @throws TensorError see `createGraph` */
  build(): Graph {
    return createGraph(this.#symbols, this.#nodes, this.#outputs);
  }

  /** Copies the nodes of a graph; the values stand in the graph's order. Its outputs are left out. */
  include(graph: Graph): Value[] {
    for (const { name, max } of graph.symbols) this.symbol(name, max);
    const values: Value[] = [];
    for (const node of graph.nodes) {
      const { inputs, type, ...op } = node;
      values.push(
        this.node(
          op as Op<Dim>,
          inputs.map((i) => values[i]!),
          type,
        ),
      );
    }
    return values;
  }

  /** Any op on operands that fit as they are. `type` where nothing else gives the sizes: see `inferType`. */
  node(op: Op<Dim>, inputs: readonly Value[], type?: TypeLike): Value {
    for (const input of inputs) this.#own(input);
    const claimed = type === undefined ? undefined : { ...type, shape: type.shape.map(dim) };
    const types = inputs.map((input) => input.type);
    const result = inferType(op, types, claimed, dimBounds(this.#symbols));
    const node: Node<Dim> = { ...op, inputs: inputs.map((input) => input.index), type: result };
    const key = formatHex(sha256(encodeWith(this.#codec, node)));
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const value: Value = { index: this.#nodes.length, type: result, shape: result.shape };
    this.#nodes.push(node);
    this.#values.push(value);
    this.#known.set(key, value);
    return value;
  }

  /** The op of a value, and its operands. */
  nodeOf(value: Value): Node<Dim> {
    this.#own(value);
    return this.#nodes[value.index]!;
  }

  /** The value of a node. */
  valueAt(index: number): Value {
    const value = this.#values[index];
    if (value === undefined) throw fault(`no node ${index}`);
    return value;
  }

  /** One f32 function, element by element. */
  unary(op: UnaryOp, x: Value): Value {
    return this.node({ op }, [x]);
  }

  neg(x: Value): Value {
    return this.unary("neg", x);
  }

  abs(x: Value): Value {
    return this.unary("abs", x);
  }

  sqrt(x: Value): Value {
    return this.unary("sqrt", x);
  }

  rsqrt(x: Value): Value {
    return this.unary("rsqrt", x);
  }

  exp(x: Value): Value {
    return this.unary("exp", x);
  }

  exp2(x: Value): Value {
    return this.unary("exp2", x);
  }

  log(x: Value): Value {
    return this.unary("log", x);
  }

  tanh(x: Value): Value {
    return this.unary("tanh", x);
  }

  sigmoid(x: Value): Value {
    return this.unary("sigmoid", x);
  }

  erf(x: Value): Value {
    return this.unary("erf", x);
  }

  /** GELU; the tanh form with `approximate`. */
  gelu(x: Value, options: { approximate?: boolean } = {}): Value {
    return this.unary(options.approximate === true ? "gelu-tanh" : "gelu", x);
  }

  silu(x: Value): Value {
    return this.unary("silu", x);
  }

  relu(x: Value): Value {
    return this.unary("relu", x);
  }

  not(x: Value): Value {
    return this.node({ op: "not" }, [x]);
  }

  /** To f32, i32 (nearest, clamped) or, from a mask, 0 and 1. */
  convert(x: Value, element: "f32" | "i32"): Value {
    return x.type.element === element
      ? x
      : this.node({ op: "convert" }, [x], { element, shape: x.shape });
  }

  /** The index along an axis. */
  iota(shape: readonly DimLike[], axis: number): Value {
    return this.node({ op: "iota", axis }, [], i32(...shape));
  }

  reshape(x: Value, shape: readonly DimLike[]): Value {
    const type = { ...x.type, shape: shape.map(dim) };
    return equalShapes(x.shape, type.shape) ? x : this.node({ op: "reshape" }, [x], type);
  }

  transpose(x: Value, permutation: readonly number[]): Value {
    const isIdentity =
      permutation.length === x.shape.length && permutation.every((a, i) => a === i);
    return isIdentity ? x : this.node({ op: "transpose", permutation }, [x]);
  }

  /** Repeats axes of size 1; the number of axes stays. */
  repeat(x: Value, shape: readonly DimLike[]): Value {
    const type = { ...x.type, shape: shape.map(dim) };
    return equalShapes(x.shape, type.shape) ? x : this.node({ op: "broadcast" }, [x], type);
  }

  /** Rows of a table `[V, ...]`. */
  gather(table: Value, indices: Value): Value {
    return this.node({ op: "gather" }, [table, indices]);
  }

  /** Sums rows `[R, N]` into `rows` rows by their indices `[R]`. */
  scatterAdd(updates: Value, indices: Value, rows: DimLike): Value {
    return this.node({ op: "scatter-add" }, [updates, indices], f32(rows, updates.shape[1] ?? 0));
  }

  /** Elements of each row by index, along the last axis. */
  takeAlong(x: Value, indices: Value): Value {
    return this.node({ op: "take-along" }, [x, indices]);
  }

  /** Integers of `bits` bits, one exponent for each row along the last axis. */
  quantize(x: Value, bits = 14): Value {
    return this.node({ op: "quantize", bits }, [x]);
  }

  /** Weights: one exponent and one scale for each row along the last axis. */
  quantizeColumns(x: Value, bits: 8 | 14 = 8): Value {
    return this.node({ op: "quantize-columns", bits }, [x]);
  }

  dequantize(x: Value): Value {
    return this.node({ op: "dequantize" }, [x]);
  }

  /** bfp `[..., M, K]` by bfp `[..., N, K]` on the grid `2^exponent`. */
  matmulGrid(left: Value, right: Value, exponent: Value): Value {
    return this.node({ op: "matmul-grid" }, [left, right, exponent]);
  }

  toGrid(x: Value, exponent: Value): Value {
    return this.node({ op: "to-grid" }, [x, exponent]);
  }

  gridAdd(x: Value, y: Value): Value {
    return this.node({ op: "grid-add" }, [x, y]);
  }

  fromGrid(x: Value, exponent: Value): Value {
    return this.node({ op: "from-grid" }, [x, exponent]);
  }

  /** Rotary embedding of `[..., H, d]` at the positions `[...]`; `inverse` turns back. */
  rotary(
    x: Value,
    positions: Value,
    options: { steps: readonly number[]; interleaved?: boolean; inverse?: boolean },
  ): Value {
    const { steps, interleaved = false, inverse = false } = options;
    return this.node({ op: "rotary", steps, interleaved, inverse }, [x, positions]);
  }

  /** z of section 8 for bfp(13) `q` `[B, T, H, d]` and `k` `[B, P, G, d]`. */
  attentionScores(q: Value, k: Value, causal: boolean): Value {
    return this.node({ op: "attention-scores", causal }, [q, k]);
  }

  /** The rest of section 8, from scores and bfp(13) `v`. */
  attentionCombine(scores: Value, v: Value, causal: boolean): Value {
    return this.node({ op: "attention-combine", causal }, [scores, v]);
  }

  /** Random words for a key i32 `[4]`: seed low, seed high, sequence, purpose. */
  randomBits(key: Value, shape: readonly DimLike[]): Value {
    return this.node({ op: "random-bits" }, [key], i32(...shape));
  }

  /** Keeps `keep` of 65536 elements and scales them up. */
  dropout(x: Value, key: Value, keep: number): Value {
    return this.node({ op: "dropout", keep }, [x, key]);
  }

  /** Tokens from logits `[R, V]` and keys `[R, 4]`; temperature and topP in 1/65536. */
  sample(
    logits: Value,
    keys: Value,
    options: { temperature: number; topK?: number; topP?: number },
  ): Value {
    const { temperature, topK = 0, topP = 65_536 } = options;
    return this.node({ op: "sample", temperature, topK, topP }, [logits, keys]);
  }

  /** The elements of a value's type must be as said. */
  protected expect(x: Value, op: string, input: number, ...elements: ElementType[]): void {
    if (elements.includes(x.type.element)) return;
    const expected = elements.join(" or ");
    throw new TensorError({ code: "tensor/type", op, input, expected, actual: x.type.element });
  }

  #own(value: Value): void {
    if (this.#values[value.index] !== value) throw fault("a value of another graph");
  }
}

/** Whether a size is the constant 1. */
export function isOne(size: Dim): boolean {
  return constantOfDim(size) === 1;
}

function fault(what: string): TensorError {
  return new TensorError({ code: "tensor/graph", what });
}
