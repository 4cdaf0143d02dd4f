// The parsed form of a module: what validation and instrumentation need of it. Code stays bytes.
import type { AddressType } from "./ic0-signatures.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref";

/** Bytes of value types in the binary format. */
export const VALUE_TYPE_BYTES: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

/** The value type that a byte stands for, or undefined. */
export function valueTypeFromByte(byte: number): ValueType | undefined {
  return BYTE_VALUE_TYPES.get(byte);
}

const BYTE_VALUE_TYPES: ReadonlyMap<number, ValueType> = new Map(
  Object.entries(VALUE_TYPE_BYTES).map(([type, byte]) => [byte, type as ValueType]),
);

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export type ImportKind = "function" | "table" | "memory" | "global" | "tag";

export interface Import {
  readonly module: string;
  readonly name: string;
  readonly kind: ImportKind;
  /** Type index of a function; 0 for the others, which are refused. */
  readonly typeIndex: number;
}

export interface Limits {
  readonly addressType: AddressType;
  readonly min: bigint;
  readonly max: bigint | undefined;
}

export interface Table extends Limits {
  readonly element: "funcref" | "externref";
}

/** Value of a constant expression: numbers as their bits, references as a function index. */
export type ConstantValue =
  | { readonly kind: "i32" | "i64" | "f32" | "f64" | "v128"; readonly bits: bigint }
  | { readonly kind: "function"; readonly index: number }
  | { readonly kind: "null"; readonly type: "funcref" | "externref" };

export interface Global {
  readonly type: ValueType;
  readonly mutable: boolean;
  readonly value: ConstantValue;
}

export interface Export {
  readonly name: string;
  readonly kind: ImportKind;
  readonly index: number;
  readonly offset: number;
}

export interface ElementSegment {
  readonly mode: "passive" | "active" | "declarative";
  readonly table: number;
  readonly offset: ConstantValue | undefined;
  readonly element: "funcref" | "externref";
  readonly items: readonly ConstantValue[];
}

export interface DataSegment {
  /** Undefined for a passive segment. */
  readonly offset: ConstantValue | undefined;
  readonly bytes: Uint8Array;
}

/** Where a function body (its locals, then its code) lies in the module. */
export interface BodyRange {
  readonly start: number;
  readonly end: number;
}

export interface CustomSection {
  readonly name: string;
  readonly content: Uint8Array;
}

export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly types: readonly FunctionType[];
  readonly imports: readonly Import[];
  /** Type indices of the functions defined here, after the imported ones. */
  readonly functions: readonly number[];
  readonly tables: readonly Table[];
  readonly memories: readonly Limits[];
  readonly globals: readonly Global[];
  readonly exports: readonly Export[];
  readonly start: number | undefined;
  readonly elements: readonly ElementSegment[];
  readonly dataCount: number | undefined;
  readonly data: readonly DataSegment[];
  readonly bodies: readonly BodyRange[];
  readonly codeSectionBytes: number;
  readonly customs: readonly CustomSection[];
}

/** Address type of the canister: that of its memory, 32 bits if it has none. */
export function addressTypeOf(module: WasmModule): AddressType {
  return module.memories[0]?.addressType ?? "i32";
}

/** Type index of a function of the whole index space, or undefined past its end. */
export function functionTypeIndex(module: WasmModule, index: number): number | undefined {
  const imported = module.imports.length;
  return index < imported ? module.imports[index]!.typeIndex : module.functions[index - imported];
}
