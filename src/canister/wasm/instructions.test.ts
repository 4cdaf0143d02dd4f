// Goal: every instruction without immediates of its own space (numbers, vectors, loads, stores) gives
// instrumented what it gives raw. Method: operand types are found by asking V8 which typing is valid, so
// that our table has no say; each instruction then runs over corner values, with 32 and 64-bit memories.
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeUleb128, utf8Bytes } from "gyrotron/base";
import {
  IMMEDIATE,
  Immediate,
  MAKES_SHAPE,
  OPCODE_COUNT,
  POPS,
  PREFIX_FC,
  PREFIX_FD,
  PUSHES,
  Shape,
} from "./opcodes.ts";
import { prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost } from "./test-host.ts";

const [I32, I64, F32, F64, V128] = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
const TYPES = [I32, I64, F32, F64, V128] as const;
type Type = (typeof TYPES)[number];
/** Where results go, beyond the bytes that loads read. */
const RESULT_ADDRESS = 256;
const DATA = Uint8Array.from({ length: 128 }, (_, i) => (i * 151 + 7) % 256);
const SETS = 24;

interface Instruction {
  readonly opcode: number;
  readonly bytes: Uint8Array;
}

interface Typing {
  readonly operands: readonly Type[];
  readonly result: Type | undefined;
}

test("every instruction agrees with V8", () => {
  let count = 0;
  for (const instruction of instructions()) {
    compare(instruction, false);
    count++;
  }
  ok(count > 400, `${count}`);
});

test("every access agrees with V8 in a memory of 64 bits", () => {
  let count = 0;
  for (const instruction of instructions()) {
    const kind = IMMEDIATE[instruction.opcode];
    if (kind !== Immediate.MEMARG && kind !== Immediate.MEMARG_LANE) continue;
    compare(instruction, true);
    count++;
  }
  ok(count > 80, `${count}`);
});

function* instructions(): Generator<Instruction> {
  for (let opcode = 0; opcode < OPCODE_COUNT; opcode++) {
    const isPolymorphic = opcode < 0x28 || (opcode >= 0xd0 && opcode < PREFIX_FC);
    if (isPolymorphic || (POPS[opcode] === 0 && PUSHES[opcode] === 0)) continue;
    const name = encodeOpcode(opcode);
    switch (IMMEDIATE[opcode]) {
      case Immediate.NONE:
        yield { opcode, bytes: name };
        break;
      case Immediate.LANE:
        for (const lane of [0, 1]) yield { opcode, bytes: concatBytes(name, Uint8Array.of(lane)) };
        break;
      case Immediate.BYTES16: {
        const lanes = DATA.subarray(0, 16).map((byte) => byte % 32);
        yield { opcode, bytes: concatBytes(name, lanes) };
        break;
      }
      case Immediate.MEMARG:
        for (const offset of [0, 3]) {
          yield { opcode, bytes: concatBytes(name, Uint8Array.of(0, offset)) };
        }
        break;
      case Immediate.MEMARG_LANE:
        yield { opcode, bytes: concatBytes(name, Uint8Array.of(0, 5, 1)) };
        break;
      default:
        break; // needs a table, a segment or a variable: differential.test.ts
    }
  }
}

function encodeOpcode(opcode: number): Uint8Array {
  if (opcode >= PREFIX_FD) {
    return concatBytes(Uint8Array.of(0xfd), encodeUleb128(opcode - PREFIX_FD));
  }
  if (opcode >= PREFIX_FC) {
    return concatBytes(Uint8Array.of(0xfc), encodeUleb128(opcode - PREFIX_FC));
  }
  return Uint8Array.of(opcode);
}

/** The only typing that V8 accepts. */
function findTyping(instruction: Instruction, is64: boolean): Typing {
  const { opcode } = instruction;
  const results = PUSHES[opcode] === 0 ? [undefined] : TYPES;
  let lists: Type[][] = [[]];
  for (let i = 0; i < POPS[opcode]!; i++) {
    lists = lists.flatMap((list) => TYPES.map((type) => [...list, type]));
  }
  const found: Typing[] = [];
  for (const operands of lists) {
    for (const result of results) {
      const typing = { operands, result };
      if (WebAssembly.validate(build(instruction, typing, is64, 1))) found.push(typing);
    }
  }
  equal(found.length, 1, `typings of opcode 0x${opcode.toString(16)}`);
  return found[0]!;
}

function compare(instruction: Instruction, is64: boolean): void {
  const typing = findTyping(instruction, is64);
  const bytes = build(instruction, typing, is64, SETS);
  const raw = new WebAssembly.Instance(new WebAssembly.Module(bytes), {}).exports;
  const host = new TestHost(prepareModule(bytes));
  const memory = raw["memory"] as WebAssembly.Memory;
  const makes = MAKES_SHAPE[instruction.opcode]!;
  for (let set = 0; set < SETS; set++) {
    const name = `canister_update ${set}`;
    const where = `opcode 0x${instruction.opcode.toString(16)}, operands ${set}`;
    const expected = endingOf(raw[name] as () => unknown);
    deepEqual(
      endingOf(() => host.call(name)),
      expected,
      where,
    );
    if (makes !== Shape.NONE) canonicalise(memory, makes);
    const [left, right] = [new Uint8Array(host.heap.buffer), new Uint8Array(memory.buffer)];
    equal(Buffer.compare(left, right), 0, where);
  }
}

function endingOf(run: () => unknown): string {
  try {
    run();
    return "returned";
  } catch (error) {
    if (error instanceof HostStop && error.kind === "heap") return "memory access out of bounds";
    if (error instanceof WebAssembly.RuntimeError) return error.message;
    throw error;
  }
}

/** What instrumentation promises of a result that V8 leaves open. */
function canonicalise(memory: WebAssembly.Memory, shape: number): void {
  const result = new DataView(memory.buffer, RESULT_ADDRESS, 16);
  const isSingle = shape === Shape.F32 || shape === Shape.F32X4;
  for (let at = 0; at < 16; at += isSingle ? 4 : 8) {
    if (isSingle && Number.isNaN(result.getFloat32(at, true)))
      result.setUint32(at, 0x7fc00000, true);
    if (!isSingle && Number.isNaN(result.getFloat64(at, true)))
      result.setBigUint64(at, 0x7ff8000000000000n, true);
  }
}

/** A module with an entry point for each set of operands. */
function build(
  instruction: Instruction,
  typing: Typing,
  is64: boolean,
  sets: number,
): Uint8Array<ArrayBuffer> {
  const pointer = is64 ? Uint8Array.of(0x42) : Uint8Array.of(0x41);
  const address = concatBytes(pointer, Uint8Array.of(0x80, 2)); // RESULT_ADDRESS as signed LEB128
  const bodies = Array.from({ length: sets }, (_, set) => {
    const operands = typing.operands.map((type, i) => constant(type, set * (2 * i + 1) + i, i));
    const store =
      typing.result === undefined ? [] : [Uint8Array.from([...storeOf(typing.result), 0, 0])];
    const isStored = typing.result !== undefined;
    const code = concatBytes(
      Uint8Array.of(0),
      ...(isStored ? [address] : []),
      ...operands,
      instruction.bytes,
      ...store,
      Uint8Array.of(0x0b),
    );
    return concatBytes(encodeUleb128(code.length), code);
  });
  const exports = bodies.map((_, i) => exportOf(`canister_update ${i}`, 0, i));
  exports.push(exportOf("memory", 2, 0));
  return concatBytes(
    Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0),
    section(1, [Uint8Array.of(0x60, 0, 0)]),
    section(
      3,
      bodies.map(() => Uint8Array.of(0)),
    ),
    section(5, [Uint8Array.of(is64 ? 4 : 0, 1)]),
    section(7, exports),
    section(10, bodies),
    section(11, [
      concatBytes(Uint8Array.of(0, pointer[0]!, 0, 0x0b), encodeUleb128(DATA.length), DATA),
    ]),
  );
}

function section(id: number, items: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(encodeUleb128(items.length), ...items);
  return concatBytes(Uint8Array.of(id), encodeUleb128(body.length), body);
}

function exportOf(name: string, kind: number, index: number): Uint8Array {
  const text = utf8Bytes(name);
  return concatBytes(encodeUleb128(text.length), text, Uint8Array.of(kind), encodeUleb128(index));
}

function storeOf(type: Type): readonly number[] {
  const codes = { [I32!]: [0x36], [I64!]: [0x37], [F32!]: [0x38], [F64!]: [0x39] };
  return codes[type] ?? [0xfd, 0x0b];
}

const INTEGERS = [
  0n, 1n, -1n, 2n, 31n, 32n, 63n, 127n, 128n, 65_528n, 65_533n, 65_535n, 65_536n, 0x7fff_ffffn,
  -0x8000_0000n, 0xffff_ffffn, 1n << 32n, (1n << 63n) - 1n, -(1n << 63n), 0x0123_4567_89ab_cdefn,
]; // prettier-ignore
const FLOATS = [
  0, -0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 2 ** 31, 2 ** 32, -(2 ** 63), 2 ** 64, 1e-310, 1e-40,
  16_777_217, 0.1, 3.4e38, 1e300, Infinity, -Infinity, NaN, 255.5,
]; // prettier-ignore

/** An instruction that pushes the value of a type with a number. */
function constant(type: Type, number: number, position: number): Uint8Array {
  const integer = INTEGERS[number % INTEGERS.length]!;
  const float = FLOATS[number % FLOATS.length]!;
  const view = new DataView(new ArrayBuffer(16));
  switch (type) {
    case I32:
      return concatBytes(Uint8Array.of(0x41), signed(BigInt.asIntN(32, integer)));
    case I64:
      return concatBytes(Uint8Array.of(0x42), signed(integer));
    case F32:
      view.setFloat32(0, float, true);
      return concatBytes(Uint8Array.of(0x43), new Uint8Array(view.buffer, 0, 4));
    case F64:
      view.setFloat64(0, float, true);
      return concatBytes(Uint8Array.of(0x44), new Uint8Array(view.buffer, 0, 8));
    default:
      fillVector(view, number, position);
      return concatBytes(Uint8Array.of(0xfd, 0x0c), new Uint8Array(view.buffer));
  }
}

/** Vectors hold integers of 64 bits, singles or doubles in turn. */
function fillVector(view: DataView, number: number, position: number): void {
  for (let lane = 0; lane < 4; lane++) {
    const at = number + 3 * lane + position;
    if (number % 3 === 1) view.setFloat32(4 * lane, FLOATS[at % FLOATS.length]!, true);
    else if (lane % 2 === 1) continue;
    else if (number % 3 === 2) view.setFloat64(4 * lane, FLOATS[at % FLOATS.length]!, true);
    else view.setBigInt64(4 * lane, INTEGERS[at % INTEGERS.length]!, true);
  }
}

function signed(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const isLast = rest >= -64n && rest < 64n;
    bytes.push(Number(rest & 0x7fn) | (isLast ? 0 : 0x80));
    if (isLast) return Uint8Array.from(bytes);
  }
}
