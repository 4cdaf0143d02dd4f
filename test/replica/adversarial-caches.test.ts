// Goal: a block has one result, whatever the replica that executes it holds in its caches: after
// traps, growth, queries, upgrades that keep or drop memories, uninstalls and deletions.
// Method: random histories; each block is also executed by a replica that has never seen the canisters.

import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { encodeCandid, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import { createReplica } from "gyrotron/replica";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

/** Keeps things in a global, at both ends of a growing heap and in stable memory; \`trap\` undoes the same. */
const keeper = (pages: number, text: string, eop: boolean): Uint8Array =>
  wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $size (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (memory ${pages})
    (global $count (mut i32) (i32.const ${pages}))
    ${eop ? "" : `(data (i32.const ${pages * 65_536 - 8}) "${text}")`}
    (func $work
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (drop (memory.grow (i32.const 1)))
      (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (global.get $count))
      (i32.store (i32.const 0) (memory.size))
      (drop (call $grow (i64.const 1)))
      (call $write (i64.sub (i64.mul (call $size) (i64.const 65536)) (i64.const 4)) (i64.const 0) (i64.const 4)))
    (func (export "canister_init") (i32.store (i32.const 16) (i32.const 1)))
    (func (export "canister_pre_upgrade") (call $work))
    (func (export "canister_update work") (call $work)
      (call $append (i32.const 0) (i32.const 4)) (call $reply))
    (func (export "canister_update trap") (call $work) unreachable)
    (func (export "canister_query look") (call $work)
      (call $append (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (i32.const 8))
      (call $reply)))`);
const TRAPS = wat(`(module (memory 3) (func (export "canister_init") unreachable)
  (func (export "canister_post_upgrade") (drop (memory.grow (i32.const 5))) unreachable))`);
const EOP = utf8Bytes("icp:private enhanced-orthogonal-persistence");
const EOP_SECTION = Uint8Array.of(0, EOP.length + 1, EOP.length, ...EOP);
const MODULES = [
  keeper(1, "one", false),
  keeper(4, "four", false),
  concatBytes(keeper(2, "two", true), EOP_SECTION),
  TRAPS,
];
const MODES = [
  { install: null },
  { reinstall: null },
  { upgrade: [] },
  { upgrade: [{ skip_pre_upgrade: [true], wasm_memory_persistence: [] }] },
  { upgrade: [{ skip_pre_upgrade: [], wasm_memory_persistence: [{ keep: null }] }] },
  { upgrade: [{ skip_pre_upgrade: [], wasm_memory_persistence: [{ replace: null }] }] },
];

const step = fc.record({
  canister: fc.nat({ max: 1 }),
  action: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("work", "trap", "look") },
    { weight: 1, arbitrary: fc.constant("query") },
    {
      weight: 1,
      arbitrary: fc.constantFrom("uninstall_code", "stop_canister", "start_canister"),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        module: fc.nat({ max: MODULES.length - 1 }),
        mode: fc.nat({ max: MODES.length - 1 }),
      }),
    },
  ),
});

/** A warm replica, each of whose blocks a cold one must agree with. */
class TwoReplicas extends ReplicaHarness {
  override block(...transactions: Uint8Array[]): void {
    const block = {
      height: this.height + 1n,
      timeNs: this.timeNs + 1_000_000_000n,
      randomness: sha256(utf8Bytes(`block ${this.height + 1n}`)),
      proposer: this.proposer,
      transactions,
    };
    const cold = createReplica().execute(this.view, block);
    const before = new Map([...this.view.range(new Uint8Array())].map(([k, v]) => [k.toHex(), v]));
    super.block(...transactions);
    for (const { key, value } of cold.writes) before.set(key.toHex(), value!);
    for (const [key, value] of before) if (value === undefined) before.delete(key);
    const after = [...this.view.range(new Uint8Array())];
    deepEqual(
      [...before.keys()].sort(),
      after.map(([key]) => key.toHex()),
    );
    for (const [key, value] of after) deepEqual(value, before.get(key.toHex()), key.toHex());
  }
}

test("a cold replica and a warm one execute every block alike", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (history) => {
      const network = new TwoReplicas();
      const ids = [network.install(MODULES[1]!), network.install(MODULES[2]!)];
      for (const { canister, action } of history) {
        const id = ids[canister]!;
        if (action === "query") network.query(id, "look");
        else if (typeof action === "object") {
          network.installOn(id, MODULES[action.module]!, MODES[action.mode]!);
        } else if (action.includes("_")) {
          const argument = encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
          network.call(MANAGEMENT_CANISTER, action, argument);
        } else network.call(id, action);
      }
    }),
    { numRuns: Number(process.env["GYROTRON_PROPERTY_RUNS"] ?? 15), seed: 20_261_122 },
  );
});
