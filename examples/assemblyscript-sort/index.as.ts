// A canister that computes: it sorts and sums numbers, and keeps what it was given in stable memory.
// An export `canister_update_append` is the method `append`.
//
//   npx gyrotron deploy index.as.ts
//   npx gyrotron canister call assemblyscript-sort sort '(vec { 3.5; -1.25; 2.0 })'

import {
  Arguments, instructions, print, Reply, reject, stableRead, stableReserve, stableWrite,
} from "gyrotron/sdk/assemblyscript";

/** The numbers follow their count, which takes the first eight bytes. */
const HEADER_BYTES: u64 = 8;

/** Sorts numbers; tells how many instructions that took. */
export function canister_query_sort(): void {
  const numbers = new Arguments().float64s();
  const before = instructions();
  numbers.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  new Reply().float64s(numbers).nat64(instructions() - before).send();
}

/** Adds numbers to those kept; replies with their count. */
export function canister_update_append(): void {
  const numbers = new Arguments().float64s();
  if (numbers.length == 0) {
    reject("nothing to append");
    return;
  }
  const count = countOf();
  const bytes = Uint8Array.wrap(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  stableWrite(HEADER_BYTES + count * 8, bytes);
  const header = new Uint64Array(1);
  header[0] = count + numbers.length;
  stableWrite(0, Uint8Array.wrap(header.buffer));
  print("kept " + numbers.length.toString() + " numbers");
  new Reply().nat(header[0]).send();
}

/** The sum of what is kept. */
export function canister_query_sum(): void {
  const count = countOf();
  const bytes = stableRead(HEADER_BYTES, (count * 8) as i32);
  let sum = 0.0;
  for (let i = 0; i < bytes.length; i += 8) sum += load<f64>(bytes.dataStart + i);
  new Reply().nat(count).float64(sum).send();
}

/** Replies with what it is asked: shows the types that the kit reads and writes. */
export function canister_query_echo(): void {
  const from = new Arguments();
  new Reply().bool(from.bool()).nat(from.nat()).int(from.int()).text(from.text()).blob(from.blob()).send();
}

/** Fails, as any program may: the caller sees where. */
export function canister_update_fail(): void {
  assert(new Arguments().nat32() < 3, "the number must be below three");
  new Reply().send();
}

function countOf(): u64 {
  stableReserve(HEADER_BYTES);
  return load<u64>(stableRead(0, HEADER_BYTES as i32).dataStart);
}
