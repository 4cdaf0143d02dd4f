// The Candid decoder on untrusted bytes: values or a DecodeError, in bounded time.

import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { DecodeError } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL } from "./arguments.ts";
import { decodeEverywhere, hostileCandid } from "./candid.fuzz.ts";

const TIME_MS_MAX = 5_000;

test("any bytes give values or a DecodeError (fuzz, smoke)", () => {
  let accepted = 0;
  for (const bytes of hostileCandid(1, 3_000)) accepted += decodeEverywhere(bytes);
  ok(accepted > 200, `the fuzzer reaches past the first checks: ${accepted} accepted`);
});

/** A message: types, then the types and bytes of its arguments. */
function message(types: number[][], args: number[], values: number[] = []): Uint8Array {
  const magic = [0x44, 0x49, 0x44, 0x4c];
  const table = [...count(types.length), ...types.flat()];
  return Uint8Array.from([...magic, ...table, ...count(args.length), ...args, ...values]);
}

function count(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...count(value >>> 7)];
}

const [NULL, RESERVED, OPT, VEC, RECORD, FUNC, SERVICE] = [
  0x7f, 0x70, 0x6e, 0x6d, 0x6c, 0x6a, 0x69,
] as const;
function repeated<T>(length: number, item: T): T[] {
  return Array.from({ length }, () => item);
}

const record = (fields: number): number[] => [
  RECORD,
  ...count(fields),
  ...Array.from({ length: fields }, (_, label) => [...count(label), RESERVED]).flat(),
];
const list = (items: number): number[] => [...count(items), ...repeated(items, RESERVED)];

const HOSTILE: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ["ten records of ten thousand fields", message(repeated(10, record(10_000)), [0])],
  ["a thousand records of ten fields", message(repeated(1_000, record(10)), [0])],
  ["functions of ten thousand arguments", message(repeated(50, [FUNC, ...list(10_000), 0, 0]), [])],
  ["ten thousand arguments", message([], repeated(10_000, NULL))],
  ["ten thousand types", message(repeated(10_000, [OPT, NULL]), [])],
  [
    "a service of many methods",
    message([[SERVICE, ...count(5_000), ...repeated(5_000, [0, NULL]).flat()]], []),
  ],
  ["a vector of 2^40 nulls", message([[VEC, NULL]], [0], [128, 128, 128, 128, 128, 32])],
  ["a record of itself", message([[RECORD, 1, 0, 0]], [0])],
  [
    "records that double a hundred times",
    message(
      Array.from({ length: 100 }, (_, i) => [
        RECORD,
        2,
        0,
        ...count(i + 1 < 64 ? i + 1 : 0),
        1,
        ...count(i + 1 < 64 ? i + 1 : 0),
      ]),
      [0],
    ),
  ],
];

for (const [name, bytes] of HOSTILE) {
  test(`refused at once: ${name}`, () => {
    const started = process.cpuUsage();
    throws(() => decodeCandid([], bytes), DecodeError);
    throws(() => decodeCandid([IDL.Record({})], bytes), DecodeError);
    ok(process.cpuUsage(started).user < 1000 * TIME_MS_MAX);
  });
}

test("the largest table of types that is allowed decodes in a moment", () => {
  const bytes = message([record(1_900), record(1_900), [OPT, 0]], [2], [0]);
  const started = process.cpuUsage();
  equal(decodeCandid([IDL.Opt(IDL.Record({}))], bytes).length, 1);
  ok(process.cpuUsage(started).user < 1000 * TIME_MS_MAX);
});

test("many values of few types are no problem", () => {
  const type = IDL.Vec(IDL.Record({ id: IDL.Nat, name: IDL.Text }));
  const value = Array.from({ length: 20_000 }, (_, id) => ({ id: BigInt(id), name: `n${id}` }));
  const [decoded] = decodeCandid([type], encodeCandid([type], [value])) as [typeof value];
  equal(decoded.length, 20_000);
  equal(decoded.at(-1)!.name, "n19999");
});
