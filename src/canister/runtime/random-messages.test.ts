// Random messages that store, grow and trap, on one long-lived runtime: after each, memory and chunks
// equal a plain array. Catches undo and write barriers that remember too much between messages.

import { equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CHUNK_BYTES, WASM_PAGE_BYTES } from "gyrotron/base";
import type { ExecutionResult } from "../contract.ts";
import { TestCanister, context, importsOf, replyOf } from "../../../test/canister/fixture.ts";

/** `count` stores of `value` from `at`, `stride` bytes apart; then perhaps growth and a trap. */
interface Message {
  readonly kind: "update" | "query" | "trap";
  readonly at: number;
  readonly count: number;
  readonly stride: number;
  readonly value: number;
  readonly grow: number;
  readonly bulk: boolean;
}

const messages: fc.Arbitrary<Message[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("update", "query", "trap"),
    at: fc.nat(3 * WASM_PAGE_BYTES),
    count: fc.integer({ min: 1, max: 3000 }),
    stride: fc.constantFrom(1, 4, 8, 60, 4096),
    value: fc.nat(3),
    grow: fc.constantFrom(0, 0, 0, 1),
    bulk: fc.boolean(),
  }),
  { minLength: 3, maxLength: 12 },
);

function moduleText(width: "i32" | "i64"): string {
  const argument = (offset: number): string => `(i32.load (I.const ${offset}))`;
  const body = `
    (call $msg_arg_data_copy (I.const 0) (I.const 0) (I.const 28))
    (local.set $at ${width === "i32" ? argument(0) : `(i64.extend_i32_u ${argument(0)})`})
    (local.set $count ${argument(4)})
    (if ${argument(20)} (then
      (memory.fill (local.get $at) ${argument(12)} ${width === "i32" ? argument(4) : `(i64.extend_i32_u ${argument(4)})`})))
    (loop $again
      (i32.store8 (local.get $at) ${argument(12)})
      (i64.store16 offset=0 (local.get $at) (i64.extend_i32_u (i32.mul ${argument(12)} (i32.const 257))))
      (local.set $at (I.add (local.get $at) ${width === "i32" ? argument(8) : `(i64.extend_i32_u ${argument(8)})`}))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (drop (memory.grow ${width === "i32" ? argument(16) : `(i64.extend_i32_u ${argument(16)})`}))
    (if ${argument(24)} (then unreachable))`;
  const locals = "(local $at I) (local $count i32)";
  return `(module ${importsOf(width, "msg_arg_data_copy", "msg_reply", "msg_reply_data_append")}
    (memory ${width} 4)
    (func (export "canister_update write") ${locals} ${body})
    (func (export "canister_query all")
      (call $msg_reply_data_append (I.const 0) (I.mul (memory.size) (I.const 65536)))
      (call $msg_reply)))`.replaceAll(/\bI\b/g, width);
}

/** What the message does to memory; undefined if a store is out of bounds. */
function apply(memory: Uint8Array, message: Message, words: Uint32Array): Uint8Array | undefined {
  const result = new Uint8Array(memory.length + message.grow * WASM_PAGE_BYTES);
  result.set(memory);
  result.set(new Uint8Array(words.buffer), 0);
  const last = message.at + (message.count - 1) * message.stride + 2;
  const bulkEnd = message.bulk ? message.at + message.count : 0;
  if (last > memory.length || bulkEnd > memory.length) return undefined;
  // Arguments are read from memory again and again, so writes below 28 would change them.
  if (message.bulk) result.fill(message.value, message.at, message.at + message.count);
  for (let i = 0; i < message.count; i++) {
    result.fill(
      message.value,
      message.at + i * message.stride,
      message.at + i * message.stride + 2,
    );
  }
  return result;
}

for (const width of ["i32", "i64"] as const) {
  test(`random messages on a ${width} memory`, () => {
    fc.assert(
      fc.property(messages, (list) => {
        const canister = TestCanister.install(moduleText(width));
        let memory: Uint8Array = new Uint8Array(4 * WASM_PAGE_BYTES);
        for (const given of list) {
          const message = { ...given, at: given.at + 28 };
          const { at, count, stride, value, grow, bulk, kind } = message;
          const words = Uint32Array.of(
            at,
            count,
            stride,
            value,
            grow,
            Number(bulk),
            Number(kind === "trap"),
          );
          const argument = new Uint8Array(words.buffer);
          const after = apply(memory, message, words);
          const result =
            kind === "query"
              ? discarded(canister, argument)
              : canister.update("write", { argument });
          equal(result.kind, kind === "trap" || after === undefined ? "trapped" : "finished");
          if (kind === "update" && after !== undefined) memory = after;
          equal(Buffer.compare(replyOf(canister.query("all")), memory), 0);
          equal(canister.image?.heapPages, memory.length / WASM_PAGE_BYTES);
          equal(Buffer.compare(storedBytes(canister, memory.length), memory), 0);
        }
        equal(Buffer.compare(replyOf(canister.freshCopy().query("all")), memory), 0);
      }),
      { seed: 20_260_822, numRuns: 40 },
    );
  });
}

/** The update with its changes dropped, as in a replicated query. */
function discarded(canister: TestCanister, argument: Uint8Array): ExecutionResult {
  const session = canister.open();
  const entry = { kind: "export", name: "canister_update write" } as const;
  const result = session.run(entry, context({ argument }));
  canister.image = session.discard();
  return result;
}

function storedBytes(canister: TestCanister, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const [index, chunk] of canister.store.heap) bytes.set(chunk, index * CHUNK_BYTES);
  return bytes;
}
