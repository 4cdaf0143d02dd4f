// Constant expressions: read and evaluated at once, so that the rest of the code sees values only.
// Covers constants, earlier immutable globals, function references and the extended integer sums.
import type { ConstantValue, Global } from "./module.ts";
import type { WasmReader } from "./reader.ts";
import type { WasmWriter } from "./writer.ts";

/** Operations in one constant expression; real ones have one to three. */
const STEPS_MAX = 1000;

/** The value of the constant expression at the cursor. @throws WasmError if it is not constant */
export function readConstant(reader: WasmReader, globals: readonly Global[]): ConstantValue {
  const start = reader.offset;
  const stack: ConstantValue[] = [];
  for (let step = 0; step < STEPS_MAX; step++) {
    const offset = reader.offset;
    const code = reader.u8();
    if (code === 0x0b) {
      const value = stack.pop();
      if (value === undefined || stack.length > 0)
        throw reader.malformed("constant expression", start);
      return value;
    }
    if (code >= 0x6a && code <= 0x6c)
      stack.push(combine(reader, stack, "i32", code - 0x6a, offset));
    else if (code >= 0x7c && code <= 0x7e)
      stack.push(combine(reader, stack, "i64", code - 0x7c, offset));
    else stack.push(readOperand(reader, globals, code, offset));
  }
  throw reader.unsupported("constant expression is too long", start);
}

function readOperand(
  reader: WasmReader,
  globals: readonly Global[],
  code: number,
  offset: number,
): ConstantValue {
  switch (code) {
    case 0x41:
      return { kind: "i32", bits: BigInt(reader.s32() >>> 0) };
    case 0x42:
      return { kind: "i64", bits: BigInt.asUintN(64, reader.s64()) };
    case 0x43:
      return { kind: "f32", bits: littleEndian(reader.take(4)) };
    case 0x44:
      return { kind: "f64", bits: littleEndian(reader.take(8)) };
    case 0xfd:
      if (reader.u32() !== 12) throw reader.malformed("operation is not constant", offset);
      return { kind: "v128", bits: littleEndian(reader.take(16)) };
    case 0xd0:
      return { kind: "null", type: reader.referenceType() };
    case 0xd2:
      return { kind: "function", index: reader.u32() };
    case 0x23: {
      const global = globals[reader.u32()];
      if (global === undefined || global.mutable) {
        throw reader.malformed("constant expression reads no earlier immutable global", offset);
      }
      return global.value;
    }
    default:
      throw reader.malformed(`operation 0x${code.toString(16)} is not constant`, offset);
  }
}

function combine(
  reader: WasmReader,
  stack: ConstantValue[],
  kind: "i32" | "i64",
  operation: number,
  offset: number,
): ConstantValue {
  const right = stack.pop();
  const left = stack.pop();
  if (left?.kind !== kind || right?.kind !== kind) {
    throw reader.malformed("constant expression is ill-typed", offset);
  }
  const [a, b] = [left.bits, right.bits];
  const result = operation === 0 ? a + b : operation === 1 ? a - b : a * b;
  return { kind, bits: BigInt.asUintN(kind === "i32" ? 32 : 64, result) };
}

/** Writes a constant expression of this value; `mapFunction` gives the new index of a function. */
export function writeConstant(
  writer: WasmWriter,
  value: ConstantValue,
  mapFunction: (index: number) => number,
): void {
  switch (value.kind) {
    case "i32":
      writer.u8(0x41);
      writer.signed(Number(BigInt.asIntN(32, value.bits)));
      break;
    case "i64":
      writer.u8(0x42);
      writer.signed64(BigInt.asIntN(64, value.bits));
      break;
    case "f32":
      writer.u8(0x43);
      writeLittleEndian(writer, value.bits, 4);
      break;
    case "f64":
      writer.u8(0x44);
      writeLittleEndian(writer, value.bits, 8);
      break;
    case "v128":
      writer.bytes(0xfd, 12);
      writeLittleEndian(writer, value.bits, 16);
      break;
    case "null":
      writer.bytes(0xd0, value.type === "funcref" ? 0x70 : 0x6f);
      break;
    case "function":
      writer.u8(0xd2);
      writer.u32(mapFunction(value.index));
  }
  writer.u8(0x0b);
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

function writeLittleEndian(writer: WasmWriter, value: bigint, length: number): void {
  for (let i = 0; i < length; i++) writer.u8(Number((value >> BigInt(8 * i)) & 0xffn));
}
