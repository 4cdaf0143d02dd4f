// The instructions a canister may use: immediates, effect on the operand stack, weight, and which
// results may hold a NaN whose bits the specification leaves open. An opcode that is absent here
// (threads, exceptions, garbage collection, relaxed SIMD, typed references) is refused.
// Spec: docs/spec/06-canister-runtime.md sections 1 and 2.
import { assert } from "gyrotron/base";

/** Codes 0x100 + n stand for the prefix 0xfc, 0x200 + n for 0xfd. */
export const OPCODE_COUNT = 0x300;
export const PREFIX_FC = 0x100;
export const PREFIX_FD = 0x200;

/** How an instruction's immediates are written. */
export const Immediate = {
  ABSENT: 0,
  NONE: 1,
  BLOCK: 2,
  LABEL: 3,
  LABELS: 4,
  FUNCTION: 5,
  INDIRECT: 6,
  TYPES: 7,
  LOCAL: 8,
  GLOBAL: 9,
  TABLE: 10,
  MEMARG: 11,
  MEMORY: 12,
  I32: 13,
  I64: 14,
  F32: 15,
  F64: 16,
  REF_TYPE: 17,
  MEMARG_LANE: 18,
  LANE: 19,
  BYTES16: 20,
  DATA_MEMORY: 21,
  DATA: 22,
  MEMORY_MEMORY: 23,
  ELEMENT_TABLE: 24,
  ELEMENT: 25,
  TABLE_TABLE: 26,
} as const;

/** Float shapes, as operands (NaN payloads do not matter) and as results (payloads are open). */
export const Shape = { NONE: 0, F32: 1, F64: 2, F32X4: 3, F64X2: 4, ANY: 5 } as const;

export const Op = {
  UNREACHABLE: 0x00,
  NOP: 0x01,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR: 0x0c,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  RETURN: 0x0f,
  CALL: 0x10,
  CALL_INDIRECT: 0x11,
  RETURN_CALL: 0x12,
  RETURN_CALL_INDIRECT: 0x13,
  DROP: 0x1a,
  SELECT: 0x1b,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  GLOBAL_GET: 0x23,
  GLOBAL_SET: 0x24,
  TABLE_SET: 0x26,
  I32_LOAD8_U: 0x2d,
  MEMORY_SIZE: 0x3f,
  MEMORY_GROW: 0x40,
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  F32_CONST: 0x43,
  F64_CONST: 0x44,
  I32_EQZ: 0x45,
  I32_LT_S: 0x48,
  I32_LT_U: 0x49,
  I32_GE_U: 0x4f,
  I64_EQZ: 0x50,
  I64_LT_S: 0x53,
  I64_LT_U: 0x54,
  I64_GE_U: 0x5a,
  F32_NE: 0x5c,
  F64_NE: 0x62,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_AND: 0x71,
  I32_SHL: 0x74,
  I32_SHR_U: 0x76,
  I64_ADD: 0x7c,
  I64_SUB: 0x7d,
  I64_SHL: 0x86,
  I64_SHR_U: 0x88,
  I32_WRAP_I64: 0xa7,
  I64_EXTEND_I32_U: 0xad,
  REF_FUNC: 0xd2,
  MEMORY_INIT: 0x108,
  DATA_DROP: 0x109,
  MEMORY_COPY: 0x10a,
  MEMORY_FILL: 0x10b,
  TABLE_INIT: 0x10c,
  ELEM_DROP: 0x10d,
  TABLE_COPY: 0x10e,
  TABLE_GROW: 0x10f,
  TABLE_FILL: 0x111,
  V128_LOAD: 0x200,
  V128_STORE: 0x20b,
  V128_CONST: 0x20c,
  F32X4_NE: 0x242,
  F64X2_NE: 0x248,
  V128_BITSELECT: 0x252,
  V128_ANY_TRUE: 0x253,
  I8X16_ALL_TRUE: 0x263,
} as const;

/** Kind of immediates by opcode; `Immediate.ABSENT` marks an opcode that is refused. */
export const IMMEDIATE: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Operands taken, where that does not depend on immediates. */
export const POPS: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Results left, where that does not depend on immediates. */
export const PUSHES: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Instructions charged in a module with a 32-bit memory. */
export const WEIGHT_32: Uint16Array = new Uint16Array(OPCODE_COUNT);
/** Instructions charged in a module with a 64-bit memory. */
export const WEIGHT_64: Uint16Array = new Uint16Array(OPCODE_COUNT);
/** Shape of operands whose NaN payloads cannot be seen in the results. */
export const READS_SHAPE: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Shape of a result that must be canonicalised. */
export const MAKES_SHAPE: Uint8Array = new Uint8Array(OPCODE_COUNT);
/**
 * Stack slots of 8 bytes that the engine may need for what it computes here, beyond locals and
 * operands: it keeps results that are computed again later.
 */
export const ENGINE_SLOTS: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Bytes stored by a store instruction, else 0. */
export const STORE_BYTES: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** 1 for instructions that go on to the next one or trap for an access out of bounds, else 0. */
export const MEMORY_TRAPS_ONLY: Uint8Array = new Uint8Array(OPCODE_COUNT);
/** Value type byte of the operand of a store instruction. */
export const STORE_TYPE: Uint8Array = new Uint8Array(OPCODE_COUNT);

type Numbers = number | readonly [first: number, last: number];

interface Traits {
  pops?: number;
  pushes?: number;
  immediate?: number;
  /** Shape read without regard to NaN payloads. */
  reads?: number;
  /** Shape made with open NaN payloads. */
  makes?: number;
}

function define(
  codes: readonly Numbers[],
  weight: number,
  traits: Traits = {},
  weight64 = weight,
): void {
  for (const entry of codes) {
    const [first, last] = typeof entry === "number" ? [entry, entry] : entry;
    for (let code = first; code <= last; code++) {
      assert(IMMEDIATE[code] === Immediate.ABSENT, `opcode ${code} is defined twice`);
      IMMEDIATE[code] = traits.immediate ?? Immediate.NONE;
      POPS[code] = traits.pops ?? 0;
      PUSHES[code] = traits.pushes ?? 0;
      WEIGHT_32[code] = weight;
      WEIGHT_64[code] = weight64;
      READS_SHAPE[code] = traits.reads ?? Shape.NONE;
      MAKES_SHAPE[code] = traits.makes ?? Shape.NONE;
    }
  }
}

function defineStores(codes: readonly number[], bytes: readonly number[], type: number): void {
  codes.forEach((code, index) => {
    STORE_BYTES[code] = bytes[index]!;
    STORE_TYPE[code] = type;
  });
}

const unary: Traits = { pops: 1, pushes: 1 };
const binary: Traits = { pops: 2, pushes: 1 };

function defineControl(): void {
  define([Op.UNREACHABLE, Op.NOP], 1);
  define([Op.BLOCK, Op.LOOP], 0, { immediate: Immediate.BLOCK });
  define([Op.IF], 2, { immediate: Immediate.BLOCK, pops: 1 });
  define([Op.ELSE, Op.END], 0);
  define([Op.BR], 2, { immediate: Immediate.LABEL });
  define([Op.BR_IF], 2, { immediate: Immediate.LABEL, pops: 1 });
  define([Op.BR_TABLE], 2, { immediate: Immediate.LABELS, pops: 1 });
  define([Op.RETURN], 1);
  define([Op.CALL], 5, { immediate: Immediate.FUNCTION });
  define([Op.CALL_INDIRECT], 10, { immediate: Immediate.INDIRECT, pops: 1 });
  define([Op.RETURN_CALL], 3, { immediate: Immediate.FUNCTION });
  define([Op.RETURN_CALL_INDIRECT], 60, { immediate: Immediate.INDIRECT, pops: 1 });
  define([Op.DROP], 1, { pops: 1, reads: Shape.ANY });
  define([Op.SELECT], 1, { pops: 3, pushes: 1 });
  define([0x1c], 1, { pops: 3, pushes: 1, immediate: Immediate.TYPES });
}

function defineVariables(): void {
  define([Op.LOCAL_GET], 1, { pushes: 1, immediate: Immediate.LOCAL });
  define([Op.LOCAL_SET], 1, { pops: 1, immediate: Immediate.LOCAL });
  define([Op.LOCAL_TEE], 1, { pops: 1, pushes: 1, immediate: Immediate.LOCAL });
  define([Op.GLOBAL_GET], 2, { pushes: 1, immediate: Immediate.GLOBAL });
  define([Op.GLOBAL_SET], 2, { pops: 1, immediate: Immediate.GLOBAL });
  define([0x25], 5, { pops: 1, pushes: 1, immediate: Immediate.TABLE });
  define([Op.TABLE_SET], 5, { pops: 2, immediate: Immediate.TABLE });
  define([0xd0], 1, { pushes: 1, immediate: Immediate.REF_TYPE });
  define([0xd1], 5, unary);
  define([Op.REF_FUNC], 130, { pushes: 1, immediate: Immediate.FUNCTION });
}

function defineMemory(): void {
  define([[0x28, 0x35]], 1, { ...unary, immediate: Immediate.MEMARG }, 2);
  define([[0x36, 0x3e]], 1, { pops: 2, immediate: Immediate.MEMARG }, 2);
  defineStores([0x36, 0x3a, 0x3b], [4, 1, 2], 0x7f);
  defineStores([0x37, 0x3c, 0x3d, 0x3e], [8, 1, 2, 4], 0x7e);
  defineStores([0x38], [4], 0x7d);
  defineStores([0x39], [8], 0x7c);
  define([Op.MEMORY_SIZE], 20, { pushes: 1, immediate: Immediate.MEMORY });
  define([Op.MEMORY_GROW], 300, { ...unary, immediate: Immediate.MEMORY });
  define([Op.MEMORY_INIT], 100, { pops: 3, immediate: Immediate.DATA_MEMORY });
  define([Op.DATA_DROP], 300, { immediate: Immediate.DATA });
  define([Op.MEMORY_COPY], 100, { pops: 3, immediate: Immediate.MEMORY_MEMORY });
  define([Op.MEMORY_FILL], 100, { pops: 3, immediate: Immediate.MEMORY });
  define([Op.TABLE_INIT], 100, { pops: 3, immediate: Immediate.ELEMENT_TABLE });
  define([Op.ELEM_DROP], 300, { immediate: Immediate.ELEMENT });
  define([Op.TABLE_COPY], 100, { pops: 3, immediate: Immediate.TABLE_TABLE });
  define([Op.TABLE_GROW], 300, { ...binary, immediate: Immediate.TABLE });
  define([PREFIX_FC + 16], 100, { pushes: 1, immediate: Immediate.TABLE });
  define([Op.TABLE_FILL], 100, { pops: 3, immediate: Immediate.TABLE });
}

function defineIntegers(): void {
  define([Op.I32_CONST], 1, { pushes: 1, immediate: Immediate.I32 });
  define([Op.I64_CONST], 1, { pushes: 1, immediate: Immediate.I64 });
  define([Op.I32_EQZ, Op.I64_EQZ], 1, unary);
  define(
    [
      [0x46, 0x4f],
      [0x51, 0x5a],
    ],
    1,
    binary,
  ); // comparisons
  define(
    [
      [0x67, 0x69],
      [0x79, 0x7b],
    ],
    1,
    unary,
  ); // clz ctz popcnt
  define(
    [
      [0x6a, 0x6c],
      [0x71, 0x78],
      [0x7c, 0x7e],
      [0x83, 0x8a],
    ],
    1,
    binary,
  );
  define(
    [
      [0x6d, 0x70],
      [0x7f, 0x82],
    ],
    10,
    binary,
  ); // division and remainder
  define([0xa7, 0xac, 0xad, [0xbc, 0xbf], [0xc0, 0xc4]], 1, unary); // width, bits, sign
}

function defineFloats(): void {
  const { F32, F64 } = Shape;
  define([Op.F32_CONST], 1, { pushes: 1, immediate: Immediate.F32 });
  define([Op.F64_CONST], 1, { pushes: 1, immediate: Immediate.F64 });
  define([[0x5b, 0x60]], 3, { ...binary, reads: F32 });
  define([[0x61, 0x66]], 3, { ...binary, reads: F64 });
  define([0x8b, 0x8c, 0x99, 0x9a], 2, unary); // abs and neg keep the payload
  define([[0x8d, 0x90]], 2, { ...unary, reads: F32, makes: F32 });
  define([[0x9b, 0x9e]], 2, { ...unary, reads: F64, makes: F64 });
  define([0x91], 5, { ...unary, reads: F32, makes: F32 }); // sqrt
  define([0x9f], 8, { ...unary, reads: F64, makes: F64 });
  define([[0x92, 0x94]], 2, { ...binary, reads: F32, makes: F32 });
  define([[0xa0, 0xa2]], 2, { ...binary, reads: F64, makes: F64 });
  define([0x95], 3, { ...binary, reads: F32, makes: F32 });
  define([0xa3], 5, { ...binary, reads: F64, makes: F64 });
  define([0x96, 0x97], 18, { ...binary, reads: F32, makes: F32 });
  define([0xa4, 0xa5], 18, { ...binary, reads: F64, makes: F64 });
  define([0x98], 2, binary); // copysign keeps the payload
  define([0xa6], 3, binary);
  const truncations: readonly [code: number, reads: number][] = [
    [0xa8, F32], [0xa9, F32], [0xaa, F64], [0xab, F64], [0xae, F32], [0xaf, F32], [0xb0, F64], [0xb1, F64],
    [PREFIX_FC, F32], [PREFIX_FC + 1, F32], [PREFIX_FC + 2, F64], [PREFIX_FC + 3, F64],
    [PREFIX_FC + 4, F32], [PREFIX_FC + 5, F32], [PREFIX_FC + 6, F64], [PREFIX_FC + 7, F64],
  ]; // prettier-ignore
  for (const [code, reads] of truncations) define([code], 20, { ...unary, reads });
  define([0xb2, 0xb4, 0xb7, 0xb9], 3, unary); // convert signed
  define([0xb3, 0xb5, 0xb8, 0xba], 16, unary); // convert unsigned
  define([0xb6], 3, { ...unary, reads: F64, makes: F32 });
  define([0xbb], 3, { ...unary, reads: F32, makes: F64 });
}

function simd(codes: readonly Numbers[]): Numbers[] {
  return codes.map((code) =>
    typeof code === "number" ? PREFIX_FD + code : [PREFIX_FD + code[0], PREFIX_FD + code[1]],
  );
}

function defineVectorMemory(): void {
  define(simd([[0, 10], 92, 93]), 1, { ...unary, immediate: Immediate.MEMARG }, 2);
  define(simd([11]), 1, { pops: 2, immediate: Immediate.MEMARG }, 2);
  define(simd([[84, 87]]), 1, { ...binary, immediate: Immediate.MEMARG_LANE }, 2);
  define(simd([[88, 91]]), 1, { pops: 2, immediate: Immediate.MEMARG_LANE }, 2);
  defineStores(
    [11, 88, 89, 90, 91].map((code) => PREFIX_FD + code),
    [16, 1, 2, 4, 8],
    0x7b,
  );
}

function defineVectorIntegers(): void {
  define(simd([12]), 1, { pushes: 1, immediate: Immediate.BYTES16 });
  define(simd([13]), 2, { ...binary, immediate: Immediate.BYTES16 });
  define(simd([14]), 1, binary); // swizzle
  define(simd([[15, 20]]), 1, unary); // splat
  define(simd([21, 22, 24, 25, 27, 29, 31, 33]), 1, { ...unary, immediate: Immediate.LANE });
  define(simd([23, 26, 28, 30, 32, 34]), 1, { ...binary, immediate: Immediate.LANE });
  define(
    simd([
      [35, 64],
      [214, 219],
    ]),
    1,
    binary,
  ); // integer comparisons
  define(simd([77]), 1, unary);
  define(simd([[78, 81]]), 1, binary);
  define(simd([82]), 1, { pops: 3, pushes: 1 }); // bitselect
  define(
    simd([83, [96, 100], [128, 129], 131, 132, 160, 161, 163, 164, 192, 193, 195, 196]),
    1,
    unary,
  );
  define(
    simd([
      [124, 127],
      [135, 138],
      [167, 170],
      [199, 202],
    ]),
    1,
    unary,
  ); // widening
  define(simd([101, 102, 133, 134]), 2, binary); // narrow
  define(simd([[107, 115], [118, 121], 123, [139, 148 - 1], [150, 153], 155]), 1, binary);
  define(simd([[171, 174], 177, [182, 185], [203, 206], 209]), 1, binary);
  define(simd([130, 149, 181, 186, [156, 159], [188, 191]]), 2, binary); // multiplications
  define(simd([213, [220, 223]]), 3, binary);
}

function defineVectorFloats(): void {
  const { F32X4, F64X2 } = Shape;
  define(simd([[65, 70]]), 3, { ...binary, reads: F32X4 });
  define(simd([[71, 76]]), 3, { ...binary, reads: F64X2 });
  define(simd([94]), 3, { ...unary, reads: F64X2, makes: F32X4 });
  define(simd([95]), 3, { ...unary, reads: F32X4, makes: F64X2 });
  define(simd([[103, 106]]), 2, { ...unary, reads: F32X4, makes: F32X4 });
  define(simd([116, 117, 122, 148]), 2, { ...unary, reads: F64X2, makes: F64X2 });
  define(simd([224, 225, 236, 237]), 2, unary); // abs and neg
  define(simd([227]), 5, { ...unary, reads: F32X4, makes: F32X4 });
  define(simd([239]), 8, { ...unary, reads: F64X2, makes: F64X2 });
  define(simd([[228, 230]]), 2, { ...binary, reads: F32X4, makes: F32X4 });
  define(simd([[240, 242]]), 2, { ...binary, reads: F64X2, makes: F64X2 });
  define(simd([231]), 3, { ...binary, reads: F32X4, makes: F32X4 });
  define(simd([243]), 5, { ...binary, reads: F64X2, makes: F64X2 });
  define(simd([232, 233]), 3, { ...binary, reads: F32X4, makes: F32X4 });
  define(simd([244, 245]), 3, { ...binary, reads: F64X2, makes: F64X2 });
  define(simd([234, 235, 246, 247]), 3, binary); // pmin and pmax select an operand
  define(simd([248, 249]), 3, { ...unary, reads: F32X4 });
  define(simd([252, 253]), 3, { ...unary, reads: F64X2 });
  define(simd([250, 251, 254, 255]), 3, unary);
}

defineControl();
defineVariables();
defineMemory();
defineIntegers();
defineFloats();
defineVectorMemory();
defineVectorIntegers();
defineVectorFloats();

function markStraight(codes: readonly Numbers[]): void {
  for (const entry of codes) {
    const [first, last] = typeof entry === "number" ? [entry, entry] : entry;
    for (let code = first; code <= last; code++) {
      if (IMMEDIATE[code] !== Immediate.ABSENT) MEMORY_TRAPS_ONLY[code] = 1;
    }
  }
}

// All but control, calls, tables, growth, bulk operations, division, and trapping conversions.
markStraight([Op.NOP, Op.BLOCK, [0x1a, 0x24], [0x28, 0x3f], [0x41, 0x6c], [0x71, 0x7e]]);
markStraight([
  [0x83, 0xa7],
  [0xac, 0xad],
  [0xb2, 0xc4],
  [0xd0, 0xd2],
]);
markStraight([
  [PREFIX_FC, PREFIX_FC + 7],
  [PREFIX_FD, PREFIX_FD + 0xff],
]);

for (let code = 0; code < OPCODE_COUNT; code++) {
  const isAccess =
    IMMEDIATE[code] === Immediate.MEMARG || IMMEDIATE[code] === Immediate.MEMARG_LANE;
  const isComputed = POPS[code]! > 0 && PUSHES[code]! > 0 && code !== Op.LOCAL_TEE;
  // An access computes its address apart, a float result is compared with itself.
  const results =
    isAccess || MAKES_SHAPE[code]! > 0 ? 2 : isComputed || code === Op.GLOBAL_GET ? 1 : 0;
  ENGINE_SLOTS[code] = code >= PREFIX_FD ? 2 * results : results;
}
