// Globals of a snapshot: 16 bytes each as images keep them, and values as Candid has them. Floats pass
// as numbers, so a NaN comes back as the canonical one.

import { GLOBAL_SLOT_BYTES } from "gyrotron/canister";
import type { GlobalType } from "../state/snapshot-record.ts";

/** A global as Candid decodes it. */
export type GivenGlobal =
  { i32: number } | { i64: bigint } | { f32: number } | { f64: number } | { v128: bigint };

/** Values of globals from their slots. */
export function unpackGlobals(types: readonly GlobalType[], bytes: Uint8Array): GivenGlobal[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return types.map((type, index) => {
    const at = index * GLOBAL_SLOT_BYTES;
    switch (type) {
      case "i32":
        return { i32: view.getInt32(at, true) };
      case "i64":
        return { i64: view.getBigInt64(at, true) };
      case "f32":
        return { f32: view.getFloat32(at, true) };
      case "f64":
        return { f64: view.getFloat64(at, true) };
      case "v128":
        return { v128: view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n) };
    }
  });
}

/** Slots from values; undefined if one is out of range. */
export function packGlobals(
  globals: readonly GivenGlobal[],
): { types: GlobalType[]; bytes: Uint8Array } | undefined {
  const bytes = new Uint8Array(globals.length * GLOBAL_SLOT_BYTES);
  const view = new DataView(bytes.buffer);
  const types: GlobalType[] = [];
  for (const [index, global] of globals.entries()) {
    const at = index * GLOBAL_SLOT_BYTES;
    if ("i32" in global) view.setInt32(at, global.i32, true);
    else if ("i64" in global) view.setBigInt64(at, global.i64, true);
    else if ("f32" in global) setFloat32(view, at, global.f32);
    else if ("f64" in global) setFloat64(view, at, global.f64);
    else {
      if (global.v128 >= 1n << 128n) return undefined;
      view.setBigUint64(at, BigInt.asUintN(64, global.v128), true);
      view.setBigUint64(at + 8, global.v128 >> 64n, true);
    }
    types.push(Object.keys(global)[0] as GlobalType);
  }
  return { types, bytes };
}

const CANONICAL_NAN_32 = 0x7fc0_0000;
const CANONICAL_NAN_64 = 0x7ff8_0000_0000_0000n;

function setFloat32(view: DataView, at: number, value: number): void {
  if (Number.isNaN(value)) view.setUint32(at, CANONICAL_NAN_32, true);
  else view.setFloat32(at, value, true);
}

function setFloat64(view: DataView, at: number, value: number): void {
  if (Number.isNaN(value)) view.setBigUint64(at, CANONICAL_NAN_64, true);
  else view.setFloat64(at, value, true);
}
