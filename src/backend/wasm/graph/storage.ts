// How values of a graph lie in device memory. Plain values are dense, 4 bytes an element (a bool is 0 or 1)
// or 8 for i64. A bfp value has mantissas as i16, rows padded to a multiple of 8 with zeros, then one i32
// exponent a row, then, where scaled, one i32 scale a row.

import { elementCount, type HostTensor, rowCount, type TensorType } from "gyrotron/tensor";
import type { WasmDevice } from "../device.ts";
import { roundUp } from "../layout.ts";

const PART_ALIGNMENT = 16;

/** The elements that move together: those of a plain value; rows, exponents and scales of a bfp value. */
export interface Part {
  /** Bytes from the value's address. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Mantissas of a row with padding. */
export function paddedColumns(type: TensorType<number>): number {
  return roundUp(columnsOf(type), 8);
}

/** The size of the last axis; 1 of a scalar. */
export function columnsOf(type: TensorType<number>): number {
  return type.shape.at(-1) ?? 1;
}

/** Bytes from a bfp value's address to its exponents. */
export function exponentsOffset(type: TensorType<number>): number {
  return roundUp(rowCount(type.shape) * paddedColumns(type) * 2, PART_ALIGNMENT);
}

/** Bytes from a bfp value's address to its scales. */
export function scalesOffset(type: TensorType<number>): number {
  return exponentsOffset(type) + roundUp(rowCount(type.shape) * 4, PART_ALIGNMENT);
}

/** The parts of a value. */
export function partsOf(type: TensorType<number>): Part[] {
  const { element, shape } = type;
  if (element !== "bfp") return [{ offset: 0, shape, bytes: element === "i64" ? 8 : 4 }];
  const rows = shape.slice(0, -1);
  const parts: Part[] = [
    { offset: 0, shape: rows, bytes: paddedColumns(type) * 2 },
    { offset: exponentsOffset(type), shape: rows, bytes: 4 },
  ];
  if (type.scaled) parts.push({ offset: scalesOffset(type), shape: rows, bytes: 4 });
  return parts;
}

/** Bytes of a value. */
export function storedBytes(type: TensorType<number>): number {
  const last = partsOf(type).at(-1)!;
  return last.offset + elementCount(last.shape) * last.bytes;
}

/** Copies a value in. */
export function writeTensor(device: WasmDevice, address: number, value: HostTensor): void {
  switch (value.element) {
    case "bool":
      device.write(address, Int32Array.from(value.data));
      return;
    case "bfp": {
      const rows = rowCount(value.shape);
      const type = bfpType(value);
      const columns = columnsOf(type);
      const padded = paddedColumns(type);
      const mantissas = new Int16Array(rows * padded);
      for (let r = 0; r < rows; r++) {
        mantissas.set(value.data.subarray(r * columns, (r + 1) * columns), r * padded);
      }
      device.write(address, mantissas);
      device.write(address + exponentsOffset(type), value.exponents);
      if (value.scales !== undefined) {
        device.write(address + scalesOffset(type), Int32Array.from(value.scales));
      }
      return;
    }
    default:
      device.write(address, value.data);
  }
}

/** Copies a value out. */
export function readTensor(
  device: WasmDevice,
  address: number,
  type: TensorType<number>,
): HostTensor {
  const { shape } = type;
  const count = elementCount(shape);
  switch (type.element) {
    case "f32":
      return { element: "f32", shape, data: device.readF32(address, count) };
    case "i32":
      return { element: "i32", shape, data: device.readI32(address, count) };
    case "bool":
      return { element: "bool", shape, data: Uint8Array.from(device.readI32(address, count)) };
    case "i64":
      return { element: "i64", shape, data: device.readI64(address, count) };
    case "bfp": {
      const rows = rowCount(shape);
      const columns = columnsOf(type);
      const padded = paddedColumns(type);
      const read = device.readI16(address, rows * padded);
      const data = new Int32Array(rows * columns);
      for (let r = 0; r < rows; r++) {
        data.set(read.subarray(r * padded, r * padded + columns), r * columns);
      }
      return {
        ...{ element: "bfp", shape, bits: type.bits, data },
        exponents: device.readI32(address + exponentsOffset(type), rows),
        scales: type.scaled
          ? Uint8Array.from(device.readI32(address + scalesOffset(type), rows))
          : undefined,
      };
    }
  }
}

function bfpType(value: Extract<HostTensor, { element: "bfp" }>): TensorType<number> {
  const { shape, bits, scales } = value;
  return { element: "bfp", shape, bits, scaled: scales !== undefined };
}
