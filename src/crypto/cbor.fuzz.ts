// Fuzz target of the CBOR decoder: hostile bytes give a value or a DecodeError, nothing else.
// Run with a budget in seconds:
//   node --conditions=source src/crypto/cbor.fuzz.ts 60

import { DecodeError } from "gyrotron/base";
import { decodeCbor, encodeCbor } from "./cbor.ts";

/** Decodes; whether it was a value. Throws whatever is not a DecodeError: that is a finding. */
export function decodeAnything(bytes: Uint8Array): boolean {
  try {
    decodeCbor(bytes);
    return true;
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

/** Endless variety from a corpus, the same for the same seed: flips, cuts, splices, hostile heads. */
export function* mutations(options: {
  corpus: readonly Uint8Array[];
  seed: number;
  count: number;
}): Generator<Uint8Array> {
  const random = createRandom(options.seed);
  for (let i = 0; i < options.count; i++) {
    let bytes = options.corpus[random(options.corpus.length)]!.slice();
    const steps = 1 + random(6);
    for (let step = 0; step < steps; step++) bytes = mutated(bytes, random);
    yield bytes;
  }
}

/** Heads that ask for much: long arrays, maps and strings, tags, breaks, floats. */
const HOSTILE_HEADS = [
  "9f",
  "bf",
  "ff",
  "9affffffff",
  "bb7fffffffffffffff",
  "5b00ffffffffffffff",
  "7affffffff",
  "c2",
  "d9d9f7",
  "f97e00",
  "818181818181",
  "a1616100",
  "f6",
];

function mutated(bytes: Uint8Array, random: (below: number) => number): Uint8Array<ArrayBuffer> {
  const at = random(bytes.length + 1);
  const copy = bytes.slice();
  switch (random(5)) {
    case 0:
      if (at < copy.length) copy[at] = random(256);
      return copy;
    case 1:
      if (at < copy.length) copy[at] = copy[at]! ^ (1 << random(8));
      return copy;
    case 2:
      return copy.slice(0, at);
    case 3: {
      const from = random(bytes.length + 1);
      return joined(copy.subarray(0, at), copy.subarray(from));
    }
    default: {
      const head = Uint8Array.fromHex(HOSTILE_HEADS[random(HOSTILE_HEADS.length)]!);
      return joined(copy.subarray(0, at), head, copy.subarray(at));
    }
  }
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
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
  const corpus = [encodeCbor({ a: [1, { b: new Uint8Array(40) }], text: "text", big: 2n ** 63n })];
  let inputCount = 0;
  for (let seed = 1; performance.now() < deadlineMs; seed++) {
    for (const bytes of mutations({ corpus, seed, count: 1000 })) {
      decodeAnything(bytes);
      inputCount++;
    }
  }
  console.log(`${inputCount} inputs, no finding`);
}
