// Fuzz target of the Candid decoder: hostile bytes give values or a DecodeError, and never take long.
// Run with a budget in seconds:
//   node --conditions=source src/candid/candid.fuzz.ts 60

import { assert, DecodeError } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "./arguments.ts";

/** No input of a few hundred bytes may take more of the processor: a walk over it takes well under one. */
const INPUT_MS_MAX = 3_000;

const FUNCTION = IDL.Func([IDL.Record({ a: IDL.Nat })], [IDL.Text], ["query"]);
const LIST = IDL.Rec();
LIST.fill(IDL.Opt(IDL.Record({ head: IDL.Int, tail: LIST })));
const TREE = IDL.Rec();
TREE.fill(IDL.Variant({ leaf: IDL.Null, fork: IDL.Tuple(TREE, TREE) }));

/** Types as interfaces have them. */
const TYPES: readonly IDL.Type[] = [
  IDL.Record({ canister_id: IDL.Principal, amount: IDL.Opt(IDL.Nat) }),
  IDL.Vec(IDL.Record({ name: IDL.Text, value: IDL.Vec(IDL.Nat8) })),
  IDL.Variant({ Ok: IDL.Nat64, Err: IDL.Variant({ Gone: IDL.Null, Late: IDL.Int32 }) }),
  IDL.Record({
    transform: IDL.Opt(IDL.Record({ function: FUNCTION, context: IDL.Vec(IDL.Nat8) })),
  }),
  LIST,
  TREE,
  IDL.Service({ go: FUNCTION }),
  IDL.Opt(IDL.Opt(IDL.Float64)),
  IDL.Reserved,
];

const CORPUS: readonly Uint8Array[] = [
  encodeCandid(
    [TYPES[0]!],
    [{ canister_id: toIdlPrincipal(Uint8Array.of(1, 2, 3)), amount: [12_345_678_901_234n] }],
  ),
  encodeCandid(
    [TYPES[1]!],
    [
      [
        { name: "a", value: [1, 2] },
        { name: "", value: [] },
      ],
    ],
  ),
  encodeCandid([TYPES[2]!], [{ Err: { Late: -5 } }]),
  encodeCandid(
    [TYPES[3]!],
    [{ transform: [{ function: [toIdlPrincipal(Uint8Array.of(9)), "go"], context: [1] }] }],
  ),
  encodeCandid([LIST], [[{ head: 1n, tail: [{ head: -1n, tail: [] }] }]]),
  encodeCandid([TREE], [{ fork: [{ leaf: null }, { fork: [{ leaf: null }, { leaf: null }] }] }]),
  encodeCandid([TYPES[6]!], [toIdlPrincipal(Uint8Array.of(7))]),
  encodeCandid([TYPES[7]!, TYPES[8]!], [[[1.5]], null]),
];

/** Pieces that ask for much: long counts, recursive types, empty values. */
const HOSTILE_PIECES = [
  "ffffffff0f",
  "8080808080808000",
  "6d7f",
  "6e00",
  "6c00",
  "6c02000001006c",
  "6b0100006d006e",
  "6a01000100010101",
  "690002676f00",
  "ffffffffffffff7f",
].map((hex) => Uint8Array.fromHex(hex));

/** Decodes by each of the types; how many accept. Throws whatever is not a DecodeError: that is a finding. */
export function decodeEverywhere(bytes: Uint8Array): number {
  const started = process.cpuUsage();
  let accepted = 0;
  for (const type of TYPES) {
    try {
      decodeCandid([type], bytes);
      accepted++;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  const { user } = process.cpuUsage(started);
  assert(user < INPUT_MS_MAX * 1000, `slow: ${bytes.toHex()}`);
  return accepted;
}

/** Endless variety, the same for the same seed. */
export function* hostileCandid(seed: number, count: number): Generator<Uint8Array> {
  const random = createRandom(seed);
  for (let i = 0; i < count; i++) {
    let bytes = CORPUS[random(CORPUS.length)]!;
    for (let step = 1 + random(3); step > 0; step--) bytes = mutated(bytes, random);
    yield bytes;
  }
}

function mutated(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  // Seldom in the magic, which is checked first.
  const at =
    random(16) === 0 ? random(bytes.length + 1) : 4 + random(Math.max(1, bytes.length - 3));
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (random(5)) {
    case 0:
      return Uint8Array.from([...head, random(256), ...tail.subarray(1)]);
    case 1:
      return Uint8Array.from([...head, ...tail.subarray(1 + random(4))]);
    case 2:
      return Uint8Array.from([...head, ...HOSTILE_PIECES[random(HOSTILE_PIECES.length)]!, ...tail]);
    case 3: {
      const other = CORPUS[random(CORPUS.length)]!;
      return Uint8Array.from([...head, ...other.subarray(random(other.length))]);
    }
    default:
      return Uint8Array.from([...head, ...head.subarray(4), ...tail]);
  }
}

/** xorshift32: enough for mutations. */
function createRandom(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

if (import.meta.main) {
  const deadlineMs = performance.now() + 1000 * Number(process.argv[2] ?? 10);
  let inputCount = 0;
  for (let seed = 1; performance.now() < deadlineMs; seed++) {
    for (const bytes of hostileCandid(seed, 1000)) {
      decodeEverywhere(bytes);
      inputCount++;
    }
  }
  console.log(`${inputCount} inputs, no finding`);
}
