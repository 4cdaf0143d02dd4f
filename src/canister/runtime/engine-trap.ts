// The closed table from V8's trap texts to our causes, its self-test, and function names from V8's
// stack text. Anything outside the table is a failure of the host.

import type { TrapCause } from "./trap.ts";
import { CanisterError } from "./error.ts";

/** What V8 says of each trap that core Wasm has, with the features that validation admits. */
const CAUSES: ReadonlyMap<string, TrapCause | "signature mismatch"> = new Map<
  string,
  TrapCause | "signature mismatch"
>([
  ["unreachable", "unreachable"],
  ["divide by zero", "integer division by 0"],
  ["remainder by zero", "integer division by 0"],
  ["divide result unrepresentable", "unknown"],
  ["float unrepresentable in integer range", "unknown"],
  ["memory access out of bounds", "heap out of bounds"],
  ["table index is out of bounds", "table out of bounds"],
  ["data segment out of bounds", "heap out of bounds"],
  ["element segment out of bounds", "table out of bounds"],
  ["function signature mismatch", "signature mismatch"],
  ["null function or function signature mismatch", "signature mismatch"],
]);

/** The cause of a trap of V8's own, or undefined if V8 threw something else. */
export function engineTrapCause(thrown: unknown): TrapCause | "signature mismatch" | undefined {
  return thrown instanceof WebAssembly.RuntimeError ? CAUSES.get(thrown.message) : undefined;
}

/** Names (or `func N`) of the canister's functions on the stack, innermost first. */
export function backtraceOf(thrown: unknown): string[] {
  const stack = thrown instanceof Error ? (thrown.stack ?? "") : "";
  const names: string[] = [];
  for (const line of stack.split("\n")) {
    const match = /^\s+at (?:(.*) \()?wasm:\/\/\S*wasm-function\[(\d+)\]/.exec(line);
    if (match === null) continue;
    const name = match[1] ?? `func ${match[2]!}`;
    if (!name.includes("gyrotron:")) names.push(name);
  }
  return names;
}

/**
 * Provokes every trap once and checks V8's wording against the table.
 * @throws CanisterError `canister/host-failure` if this V8 words one otherwise
 */
export function checkEngineTraps(): void {
  for (const [cause, body] of PROBES) {
    let found: string | undefined;
    try {
      const instance = new WebAssembly.Instance(new WebAssembly.Module(probeModule(body)));
      (instance.exports["f"] as () => void)();
    } catch (thrown) {
      found = engineTrapCause(thrown);
    }
    if (found !== cause) {
      const what = `V8 gives ${found ?? "no known trap"} for ${cause}`;
      throw new CanisterError({ code: "canister/host-failure", what });
    }
  }
}

/** Bodies of a function ()->() beside a page of memory, a table of one null, and passive segments of one item. */
const PROBES: readonly [TrapCause | "signature mismatch", readonly number[]][] = [
  ["unreachable", [0x00]],
  ["integer division by 0", [0x41, 1, 0x41, 0, 0x6d, 0x1a]],
  ["integer division by 0", [0x41, 1, 0x41, 0, 0x70, 0x1a]],
  ["integer division by 0", [0x42, 1, 0x42, 0, 0x80, 0x1a]],
  ["integer division by 0", [0x42, 1, 0x42, 0, 0x81, 0x1a]],
  ["unknown", [0x41, 0x80, 0x80, 0x80, 0x80, 0x78, 0x41, 0x7f, 0x6d, 0x1a]],
  ["unknown", [0x43, 0, 0, 0xc0, 0x7f, 0xa8, 0x1a]],
  ["unknown", [0x43, 0, 0, 0x80, 0x7f, 0xae, 0x1a]],
  ["heap out of bounds", [0x41, 0x80, 0x80, 4, 0x28, 2, 0, 0x1a]],
  ["heap out of bounds", [0x41, 0x7f, 0x41, 0, 0x36, 2, 0]],
  ["heap out of bounds", [0x41, 0x7f, 0x41, 0, 0x41, 9, 0xfc, 11, 0]],
  ["heap out of bounds", [0x41, 0x7f, 0x41, 0, 0x41, 9, 0xfc, 10, 0, 0]],
  ["table out of bounds", [0x41, 7, 0x25, 0, 0x1a]],
  ["table out of bounds", [0x41, 7, 0xd0, 0x70, 0x26, 0]],
  ["table out of bounds", [0x41, 0, 0xd0, 0x70, 0x41, 9, 0xfc, 17, 0]],
  ["table out of bounds", [0x41, 0, 0x41, 0, 0x41, 9, 0xfc, 14, 0, 0]],
  ["table out of bounds", [0x41, 7, 0x11, 0, 0]],
  ["heap out of bounds", [0x41, 0, 0x41, 0, 0x41, 9, 0xfc, 8, 0, 0]],
  ["table out of bounds", [0x41, 0, 0x41, 0, 0x41, 9, 0xfc, 12, 0, 0]],
  ["signature mismatch", [0x41, 0, 0x11, 0, 0]],
];

function probeModule(body: readonly number[]): Uint8Array {
  const code = [0, ...body, 0x0b];
  const sections: readonly (readonly [number, readonly number[]])[] = [
    [1, [1, 0x60, 0, 0]],
    [3, [1, 0]],
    [4, [1, 0x70, 0, 1]],
    [5, [1, 0, 1]],
    [7, [1, 1, 0x66, 0, 0]],
    [9, [1, 1, 0, 1, 0]],
    [12, [1]],
    [10, [1, code.length, ...code]],
    [11, [1, 1, 1, 0x61]],
  ];
  const bytes = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  for (const [id, content] of sections) bytes.push(id, content.length, ...content);
  return Uint8Array.from(bytes);
}
