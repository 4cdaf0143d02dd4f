// Small functions of one straight line: their callers charge for them, so that such a call needs no
// bookkeeping at all. Only functions that nothing but direct calls can reach.
import { Body } from "./body.ts";
import { BodyDecoder } from "./decode-body.ts";
import { LEAF_BYTES_FREE, stackBytesOf } from "./instrument-body.ts";
import { InstructionReader } from "./instruction-reader.ts";
import { addressTypeOf, type ConstantValue, type WasmModule } from "./module.ts";
import { Op, WEIGHT_32, WEIGHT_64 } from "./opcodes.ts";

/** Longest body looked at; longer ones gain nothing. */
const BODY_BYTES_MAX = 256;

/** Weights of all functions that are included in their callers, by index. */
export function includedFunctions(module: WasmModule): Map<number, number> {
  const reachable = otherwiseReachable(module);
  const included = new Map<number, number>();
  const body = new Body();
  const decoder = new BodyDecoder(module, body);
  const reader = new InstructionReader(module);
  const weights = addressTypeOf(module) === "i32" ? WEIGHT_32 : WEIGHT_64;
  module.bodies.forEach(({ start, end }, i) => {
    const index = module.imports.length + i;
    if (end - start > BODY_BYTES_MAX || reachable.has(index) || !isStraight(reader, i)) return;
    decoder.decode(i);
    const weight = straightWeight(body, weights);
    if (weight !== undefined) included.set(index, weight);
  });
  return included;
}

/** Functions that the host or a table can call. */
function otherwiseReachable(module: WasmModule): Set<number> {
  const reachable = new Set<number>();
  const add = (value: ConstantValue): void => {
    if (value.kind === "function") reachable.add(value.index);
  };
  for (const { kind, index } of module.exports) if (kind === "function") reachable.add(index);
  for (const { items } of module.elements) items.forEach(add);
  for (const { value } of module.globals) add(value);
  if (module.start !== undefined) reachable.add(module.start);
  return reachable;
}

/** Whether function `index` has no branch and no call; most have, and need not be decoded for this. */
function isStraight(reader: InstructionReader, index: number): boolean {
  reader.begin(index);
  reader.locals();
  while (!reader.reader.done) {
    const op = reader.next();
    const isPlain = op > Op.RETURN_CALL_INDIRECT || op === Op.NOP;
    if (!isPlain && op !== Op.BLOCK && op !== Op.END) return false;
  }
  return true;
}

/** The weight of a body without branches, calls and charges that depend on data, else undefined. */
function straightWeight(body: Body, weights: Uint16Array): number | undefined {
  if (body.callsAny || body.loops || stackBytesOf(body) > LEAF_BYTES_FREE) return undefined;
  let weight = 0;
  for (let at = 0; at < body.count; at++) {
    const op = body.ops[at]!;
    if (op === Op.BLOCK || op === Op.END || op > Op.RETURN) {
      if (op === Op.MEMORY_GROW || (op >= Op.MEMORY_INIT && op <= Op.TABLE_FILL)) return undefined;
      weight += weights[op]!;
    } else if (op !== Op.NOP) return undefined;
    else weight += weights[op]!;
  }
  return weight;
}
