// A canister that forwards method, cycles and argument to the management canister, and passes on what
// comes back.

import { ok } from "node:assert/strict";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { type ReplicaHarness, wat } from "./harness.ts";

/** Argument: cycles (u64, little endian), length of the method's name (one byte), name, payload. */
export const PROXY: Uint8Array = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_cycles_add" (func $cycles (param i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (memory 2)
  (table funcref (elem $on_reply $on_reject))
  (data (i32.const 0) "hello log")
  (func $on_reply (param i32)
    (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1000) (call $arg_size)) (call $reply))
  (func $on_reject (param i32)
    (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
    (call $append (i32.const 1000) (call $reject_size)) (call $reply))
  (func (export "canister_update say")
    (call $print (i32.const 0) (i32.const 9)) (call $reply))
  (func (export "canister_update forward") (local $name i32)
    (call $arg (i32.const 100) (i32.const 0) (call $arg_size))
    (local.set $name (i32.load8_u (i32.const 108)))
    (call $new (i32.const 0) (i32.const 0) (i32.const 109) (local.get $name)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $data (i32.add (i32.const 109) (local.get $name))
      (i32.sub (call $arg_size) (i32.add (i32.const 9) (local.get $name))))
    (call $cycles (i64.load (i32.const 100)))
    (drop (call $perform))))`);

/** Argument of the proxy's `forward`. */
export function forwardArgument(method: string, argument: Uint8Array, cycles = 0n): Uint8Array {
  const amount = new Uint8Array(8);
  new DataView(amount.buffer).setBigUint64(0, cycles, true);
  const name = utf8Bytes(method);
  return concatBytes(amount, Uint8Array.of(name.length), name, argument);
}

/** What the management canister answers to the proxy; a reject arrives as its text. */
export function forward(
  network: ReplicaHarness,
  proxy: Uint8Array,
  method: string,
  argument: Uint8Array,
  cycles = 0n,
): Uint8Array {
  const status = network.call(proxy, "forward", forwardArgument(method, argument, cycles));
  ok(status.kind === "replied", `the proxy itself failed: ${status.kind}`);
  return status.reply;
}
