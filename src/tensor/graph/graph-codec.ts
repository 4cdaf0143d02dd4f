// The canonical bytes of a graph, one schema for both directions. Codes of ops are their places in
// op-list.ts. Sizes refer to the graph's symbols by index. The schema alone is not all that a graph must be:
// decode.ts checks the rest.

import type { ByteReader, ByteWriter, Codec } from "gyrotron/base";
import { codec, present } from "gyrotron/base";
import type { Dim, DimSymbol } from "./dimension.ts";
import { DIM_LIMITS, isCanonicalDim } from "./dimension.ts";
import type { Graph, GraphOutput } from "./graph.ts";
import { GRAPH_LIMITS, OP_KINDS, OP_TABLE_VERSION } from "./op-list.ts";
import type { Node, OpKind } from "./op.ts";
import type { HostTensor, TensorType } from "./value.ts";
import { elementCount, rowCount } from "./value.ts";

const { bool, i64, list, oneOf, option, record, text, u32, u8 } = codec;

/** First bytes of every graph. */
const MAGIC = 0x5250_5947;

const element = oneOf("f32", "i32", "bool", "i64", "bfp");
const symbols: Codec<DimSymbol[]> = list(
  record<{ name: string; max: number }>({ name: text, max: u32 }),
  8,
);

/** Bytes of a graph and back; reading gives a graph whose nodes are unchecked. */
export const graphCodec: Codec<Graph> = {
  write(w, graph) {
    w.u32(MAGIC);
    w.u32(graph.version);
    symbols.write(w, [...graph.symbols]);
    const node = nodeCodec(graph.symbols);
    w.u32(graph.nodes.length);
    for (const item of graph.nodes) node.write(w, item);
    list(output).write(w, [...graph.outputs]);
  },
  read(r) {
    if (r.u32() !== MAGIC) throw r.error("not a graph");
    const version = r.u32();
    if (version !== OP_TABLE_VERSION) throw r.error(`op table version ${version}`);
    const declared = symbols.read(r);
    if (declared.length > GRAPH_LIMITS.symbols) throw r.error("too many symbols");
    const node = nodeCodec(declared);
    const count = r.count(NODE_BYTES_MIN);
    if (count > GRAPH_LIMITS.nodes) throw r.error("too many nodes");
    const nodes: Node<Dim>[] = [];
    for (let i = 0; i < count; i++) nodes.push(node.read(r));
    return { version, symbols: declared, nodes, outputs: list(output, 9).read(r) };
  },
};

/** Code, element, an empty shape, no operands. */
const NODE_BYTES_MIN = 10;

const output: Codec<GraphOutput> = record<{
  name: string;
  node: number;
  updates: string | undefined;
}>({ name: text, node: u32, updates: option(text) });

/** A node with sizes over these symbols. */
export function nodeCodec(declared: readonly DimSymbol[]): Codec<Node<Dim>> {
  const dimension = dimCodec(declared);
  const type = typeCodec(dimension);
  const attributes = attributeCodecs(dimension);
  return {
    write(w, node) {
      w.u8(OP_KINDS.indexOf(node.op));
      const fields = node as unknown as Record<string, unknown>;
      for (const [name, field] of attributes(node.op)) field.write(w, fields[name]);
      list(u32).write(w, [...node.inputs]);
      type.write(w, node.type);
    },
    read(r) {
      const op = OP_KINDS[r.u8()];
      if (op === undefined) throw r.error("unknown op");
      const fields: Record<string, unknown> = { op };
      for (const [name, field] of attributes(op)) fields[name] = field.read(r);
      const inputs = list(u32, 4).read(r);
      return { ...fields, inputs, type: type.read(r) } as unknown as Node<Dim>;
    },
  };
}

/** A polynomial over the declared symbols, in canonical form. */
function dimCodec(declared: readonly DimSymbol[]): Codec<Dim> {
  const places = new Map(declared.map(({ name }, i) => [name, i]));
  return {
    write(w, value) {
      w.u8(value.terms.length);
      for (const { coefficient, symbols: factors } of value.terms) {
        i64.write(w, BigInt(coefficient));
        w.u8(factors.length);
        for (const name of factors) w.u8(present(places.get(name), "undeclared symbol"));
      }
    },
    read(r) {
      const terms: { coefficient: number; symbols: string[] }[] = [];
      const count = r.u8();
      if (count > DIM_LIMITS.terms) throw r.error("too many terms");
      for (let i = 0; i < count; i++) {
        const coefficient = Number(i64.read(r));
        if (Math.abs(coefficient) > DIM_LIMITS.coefficient) throw r.error("coefficient too large");
        const factors = r.u8();
        if (factors > DIM_LIMITS.degree) throw r.error("too many factors");
        const names: string[] = [];
        for (let j = 0; j < factors; j++) {
          const symbol = declared[r.u8()];
          if (symbol === undefined) throw r.error("unknown symbol");
          names.push(symbol.name);
        }
        terms.push({ coefficient, symbols: names });
      }
      const value = { terms };
      if (!isCanonicalDim(value)) throw r.error("dimension is not canonical");
      return value;
    },
  };
}

function typeCodec(dimension: Codec<Dim>): Codec<TensorType<Dim>> {
  const shape = shortList(dimension);
  return {
    write(w, type) {
      element.write(w, type.element);
      if (type.element === "bfp") {
        w.u8(type.bits);
        bool.write(w, type.scaled);
      }
      shape.write(w, type.shape);
    },
    read(r) {
      const kind = element.read(r);
      if (kind !== "bfp") return { element: kind, shape: shape.read(r) };
      const bits = r.u8();
      const scaled = bool.read(r);
      return { element: kind, shape: shape.read(r), bits, scaled };
    },
  };
}

/** A list of one item for each axis. */
function shortList<T>(item: Codec<T>): Codec<readonly T[]> {
  return {
    write(w, values) {
      w.u8(values.length);
      for (const value of values) item.write(w, value);
    },
    read(r) {
      const count = r.u8();
      if (count > GRAPH_LIMITS.rank) throw r.error("too many axes");
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(item.read(r));
      return values;
    },
  };
}

/** A finite number that is not -0, as binary64. */
const number: Codec<number> = {
  write(w, value) {
    w.raw(new Uint8Array(new Float64Array([value]).buffer));
  },
  read(r) {
    const value = new Float64Array(r.raw(8).buffer as ArrayBuffer)[0]!;
    if (!Number.isFinite(value) || Object.is(value, -0)) throw r.error("number is not finite");
    return value;
  },
};

type Fields = readonly (readonly [string, Codec<unknown>])[];

/** The parameters of each op, in the order written. */
function attributeCodecs(dimension: Codec<Dim>): (op: OpKind) => Fields {
  const pair = codec.list(u32, 4);
  const window = record<Record<"kernel" | "stride" | "dilation" | "padding", number[]>>({
    kernel: pair,
    stride: pair,
    dilation: pair,
    padding: pair,
  });
  const table: Partial<Record<OpKind, Record<string, Codec<unknown>>>> = {
    input: { name: text, role: oneOf("data", "parameter", "state") },
    constant: { value: hostTensor },
    iota: { axis: u32 },
    transpose: { permutation: shortList(u32) },
    slice: { starts: shortList(dimension), strides: shortList(u32) },
    concat: { axis: u32 },
    pad: { low: shortList(dimension), interior: shortList(u32), value: number },
    patches: { window, value: number },
    fold: { window },
    sum: { bits: u8 },
    mean: { bits: u8 },
    variance: { bits: u8 },
    "rms-norm": { epsilon: number },
    "layer-norm": { epsilon: number },
    softmax: { causal: bool },
    quantize: { bits: u8 },
    "quantize-columns": { bits: u8 },
    rotary: { steps: list(u32, 4), interleaved: bool, inverse: bool },
    attention: { causal: bool },
    "attention-scores": { causal: bool },
    "attention-combine": { causal: bool },
    dropout: { keep: u32 },
    sample: { temperature: u32, topK: u32, topP: u32 },
  };
  const fields = new Map(OP_KINDS.map((op) => [op, Object.entries(table[op] ?? {})]));
  return (op) => present(fields.get(op));
}

/** A value on the host; what its elements may be is checked with the node. */
export const hostTensor: Codec<HostTensor> = {
  write(w, value) {
    element.write(w, value.element);
    shortList(u32).write(w, value.shape);
    rawArray(w, value.data);
    if (value.element !== "bfp") return;
    w.u8(value.bits);
    rawArray(w, value.exponents);
    bool.write(w, value.scales !== undefined);
    if (value.scales !== undefined) w.raw(value.scales);
  },
  read(r) {
    const kind = element.read(r);
    const shape = shortList(u32).read(r);
    const count = elementCount(shape);
    switch (kind) {
      case "f32":
        return { element: kind, shape, data: new Float32Array(readArray(r, count, 4)) };
      case "i32":
        return { element: kind, shape, data: new Int32Array(readArray(r, count, 4)) };
      case "bool":
        return { element: kind, shape, data: new Uint8Array(readArray(r, count, 1)) };
      case "i64":
        return { element: kind, shape, data: new BigInt64Array(readArray(r, count, 8)) };
      case "bfp": {
        const data = new Int32Array(readArray(r, count, 4));
        const bits = r.u8();
        const rows = rowCount(shape);
        const exponents = new Int32Array(readArray(r, rows, 4));
        const scales = bool.read(r) ? new Uint8Array(readArray(r, rows, 1)) : undefined;
        return { element: kind, shape, bits, data, exponents, scales };
      }
    }
  },
};

/** Elements as they lie in memory: every machine that runs WebAssembly or V8 here is little endian. */
function rawArray(w: ByteWriter, data: Exclude<HostTensor["data"], undefined>): void {
  w.raw(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function readArray(r: ByteReader, count: number, itemBytes: number): ArrayBuffer {
  if (count * itemBytes > r.bytes.length - r.offset) throw r.error("more elements than bytes");
  return r.raw(count * itemBytes).buffer as ArrayBuffer;
}
