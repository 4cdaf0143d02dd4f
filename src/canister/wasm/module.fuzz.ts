// Fuzz target of module preparation: hostile bytes give a module or a WasmError, nothing else, and
// what is accepted can be instantiated. Run with a budget in seconds and modules to mutate:
//   node --conditions=source src/canister/wasm/module.fuzz.ts 60 [file.wasm ...]

import { readFileSync } from "node:fs";
import { WasmError } from "./error.ts";
import { prepareModule } from "./prepare-module.ts";

/** Prepares; whether it was accepted. Throws whatever is not a WasmError: that is a finding. */
export function prepareAnything(bytes: Uint8Array): boolean {
  try {
    prepareModule(bytes);
    return true;
  } catch (error) {
    // Mutants stay small, so an instrumented module that V8 refuses is a bug of ours.
    const isRefusal = error instanceof WasmError && error.info.code !== "canister/wasm-too-complex";
    if (isRefusal) return false;
    throw error;
  }
}

/** Mutants of the corpus, the same for the same seed. */
export function* mutants(options: {
  corpus: readonly Uint8Array[];
  seed: number;
  count: number;
}): Generator<Uint8Array> {
  const random = createRandom(options.seed);
  for (let i = 0; i < options.count; i++) {
    let bytes = options.corpus[random(options.corpus.length)]!;
    for (let steps = 1 + random(4); steps > 0; steps--) bytes = mutated(bytes, random);
    yield bytes;
  }
}

type Random = (below: number) => number;

/** Opcodes, prefixes, type bytes and long integers that steer a parser. */
const TOKENS = [
  "00", "01", "02", "03", "04", "05", "0b", "0c", "0e", "0f", "10", "11", "12", "13", "1a", "1b", "20", "21",
  "22", "23", "24", "36", "3f", "40", "41", "6a", "7f", "7e", "7d", "7c", "7b", "70", "6f", "60", "a0", "d0",
  "d2", "fb", "fc", "fd", "fe", "fc08", "fc0a", "fd0b", "fd8102", "ffffffff0f", "ffffffffffffffffff01", "8080808010",
]; // prettier-ignore

function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length + 1);
  const copy = bytes.slice();
  switch (random(6)) {
    case 0:
      if (at < copy.length) copy[at] = random(256);
      return copy;
    case 1:
      if (at < copy.length) copy[at]! ^= 1 << random(8);
      return copy;
    case 2:
      return copy.slice(0, at);
    case 3: {
      const token = Uint8Array.fromHex(TOKENS[random(TOKENS.length)]!);
      copy.set(token.subarray(0, copy.length - at), at);
      return copy;
    }
    case 4: {
      const from = random(bytes.length + 1);
      const length = Math.min(random(64), bytes.length - Math.max(at, from));
      copy.copyWithin(at, from, from + Math.max(length, 0));
      return copy;
    }
    default: {
      const token = Uint8Array.fromHex(TOKENS[random(TOKENS.length)]!);
      const longer = new Uint8Array(copy.length + token.length);
      longer.set(copy.subarray(0, at));
      longer.set(token, at);
      longer.set(copy.subarray(at), at + token.length);
      return longer;
    }
  }
}

/** xorshift32: enough for mutations. */
export function createRandom(seed: number): Random {
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
  const corpus = process.argv.slice(3).map((file) => new Uint8Array(readFileSync(file)));
  if (corpus.length === 0) corpus.push(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  let accepted = 0;
  let count = 0;
  for (let seed = 1; performance.now() < deadlineMs; seed++) {
    for (const bytes of mutants({ corpus, seed, count: 50 })) {
      if (prepareAnything(bytes)) accepted++;
      count++;
    }
  }
  console.log(`${count} inputs, ${accepted} accepted, no finding`);
}
