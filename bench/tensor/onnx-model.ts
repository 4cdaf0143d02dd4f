// The few ONNX models that the comparison needs, written as protobuf bytes (onnx.proto, IR version 8,
// operator set 13): a product with constant weights, in f32 and with dynamically quantized activations.

import { concatBytes, utf8Bytes } from "gyrotron/base";

const FLOAT = 1;
const INT8 = 3;

/** y = a x w in f32. `weights` is [inputs][outputs]. */
export function floatProduct(shape: ProductShape, weights: Float32Array): Uint8Array {
  const { rows, inputs, outputs } = shape;
  return model({
    nodes: [node("MatMul", ["a", "w"], ["y"])],
    constants: [tensor("w", FLOAT, [inputs, outputs], bytesOf(weights))],
    input: value("a", [rows, inputs]),
    output: value("y", [rows, outputs]),
  });
}

/** y = scale x (quantized a) x w, activations quantized to 8 bits at run time as quantizers of models emit it. */
export function integerProduct(shape: ProductShape, weights: Int8Array): Uint8Array {
  const { rows, inputs, outputs } = shape;
  return model({
    nodes: [
      node("DynamicQuantizeLinear", ["a"], ["quantized", "step", "zero"]),
      node("MatMulInteger", ["quantized", "w", "zero"], ["sums"]),
      // Attribute `to` of kind INT.
      concatBytes(
        node("Cast", ["sums"], ["floats"]),
        field(5, concatBytes(field(1, "to"), number(3, FLOAT), number(20, 2))),
      ),
      node("Mul", ["step", "weight_scale"], ["scale"]),
      node("Mul", ["floats", "scale"], ["y"]),
    ],
    constants: [
      tensor("w", INT8, [inputs, outputs], bytesOf(weights)),
      tensor("weight_scale", FLOAT, [], bytesOf(Float32Array.of(1 / 64))),
    ],
    input: value("a", [rows, inputs]),
    output: value("y", [rows, outputs]),
  });
}

/** The shape of a product: rows x inputs times inputs x outputs. */
export interface ProductShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

interface Graph {
  readonly nodes: readonly Uint8Array[];
  readonly constants: readonly Uint8Array[];
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

function model({ nodes, constants, input, output }: Graph): Uint8Array {
  const graph = concatBytes(
    ...nodes.map((bytes) => field(1, bytes)),
    field(2, "product"),
    ...constants.map((bytes) => field(5, bytes)),
    field(11, input),
    field(12, output),
  );
  const operators = concatBytes(field(1, ""), number(2, 13));
  return concatBytes(number(1, 8), field(7, graph), field(8, operators));
}

function node(type: string, inputs: readonly string[], outputs: readonly string[]): Uint8Array {
  return concatBytes(
    ...inputs.map((name) => field(1, name)),
    ...outputs.map((name) => field(2, name)),
    field(4, type),
  );
}

function tensor(name: string, type: number, shape: readonly number[], raw: Uint8Array): Uint8Array {
  return concatBytes(
    ...shape.map((size) => number(1, size)),
    number(2, type),
    field(8, name),
    field(9, raw),
  );
}

/** A value of f32 with its shape. */
function value(name: string, shape: readonly number[]): Uint8Array {
  const dimensions = concatBytes(...shape.map((size) => field(1, number(1, size))));
  const type = field(1, concatBytes(number(1, FLOAT), field(2, dimensions)));
  return concatBytes(field(1, name), field(2, type));
}

function number(tag: number, amount: number): Uint8Array {
  return Uint8Array.from([...varint(tag * 8), ...varint(amount)]);
}

function field(tag: number, content: Uint8Array | string): Uint8Array {
  const bytes = typeof content === "string" ? utf8Bytes(content) : content;
  return concatBytes(Uint8Array.from([...varint(tag * 8 + 2), ...varint(bytes.length)]), bytes);
}

function varint(amount: number): number[] {
  const bytes: number[] = [];
  let rest = amount;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

function bytesOf(data: Float32Array | Int8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
