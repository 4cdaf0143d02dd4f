// A real actor of the Motoko compiler: wasm64, orthogonal persistence, upgrades, timers, calls.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { prepareModule } from "gyrotron/canister";
import {
  type ChunkStore,
  TestCanister,
  context,
  replyOf,
  trapOf,
  wasmFromMotoko,
} from "../../../test/canister/fixture.ts";
import type { ExecutionResult, OutgoingCall } from "../contract.ts";

const ACTOR = `
import { setTimer } = "mo:⛔";
persistent actor Self {
  var count : Nat = 0;
  var names : [Text] = ["start"];
  public func inc() : async Nat { count += 1; count };
  public query func get() : async Nat { count };
  public func add(name : Text) : async () {
    let before = names;
    names := Array_tabulate<Text>(before.size() + 1, func i = if (i < before.size()) before[i] else name);
  };
  public query func all() : async [Text] { names };
  public func twice() : async Nat { let a = await inc(); let b = await inc(); a + b };
  public func divide(a : Nat) : async Nat { outer(a) };
  func outer(a : Nat) : Nat { 10 / a };
  public func fail() : async () { count := 1000; assert false };
  public func grow() : async Nat {
    let big = Array_tabulate<Nat>(300_000, func i = i);
    big.size()
  };
  public shared ({ caller }) func who() : async Principal { caller };
  public func arm() : async Nat { setTimer(5_000_000_000, false, func () : async () { count += 100 }) };
};`
  .replaceAll("Array_tabulate", "Prim.Array_tabulate")
  .replace('import { setTimer } = "mo:⛔";', 'import Prim "mo:⛔";\nimport { setTimer } "mo:⛔";');

const [first, second] = wasmFromMotoko(
  ACTOR,
  ACTOR.replace("count += 1; count", "count += 10; count"),
);

const EMPTY = bytes("DIDL\0\0");

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.codePointAt(0)!);
}

/** A Candid reply of one small nat. */
function nat(result: ExecutionResult): number {
  const reply = replyOf(result);
  equal(Buffer.from(reply.subarray(0, 7)).toString("latin1"), "DIDL\0\x01\x7d");
  return reply.subarray(7).reduceRight((value, byte) => value * 128 + (byte & 127), 0);
}

function callsOf(result: ExecutionResult): readonly OutgoingCall[] {
  ok(result.kind === "finished", result.kind === "trapped" ? result.trap.message : "");
  return result.changes.calls;
}

function installed(): TestCanister {
  const canister = new TestCanister();
  const result = canister.install(prepareModule(first!), "fresh", { argument: EMPTY });
  equal(result?.kind, "finished");
  return canister;
}

const argument = { argument: EMPTY };

describe("a Motoko actor", () => {
  test("updates, queries, state", () => {
    const canister = installed();
    deepEqual(
      [1, 2, 3].map(() => nat(canister.update("inc", argument))),
      [1, 2, 3],
    );
    equal(nat(canister.query("get", argument)), 3);
    canister.update("add", { argument: bytes("DIDL\0\x01\x71\x03abc") });
    const all = Buffer.from(replyOf(canister.query("all", argument))).toString("latin1");
    ok(all.endsWith("\x02\x05start\x03abc"));
    const who = canister.update("who", { ...argument, caller: Uint8Array.of(1, 2, 3) });
    equal(Buffer.from(replyOf(who)).toString("latin1"), "DIDL\0\x01\x68\x01\x03\x01\x02\x03");
  });

  test("is the same on a runtime that starts from stored chunks", () => {
    const canister = installed();
    for (let i = 0; i < 20; i++) {
      const copy = canister.freshCopy();
      const name = ["inc", "grow", "fail", "inc"][i % 4]!;
      const result = canister.update(name, argument);
      deepEqual(withoutBacktrace(copy.update(name, argument)), withoutBacktrace(result), name);
      deepEqual(copy.image, canister.image);
      deepEqual(sizes(copy.store), sizes(canister.store));
      deepEqual(copy.store, canister.store);
    }
    equal(nat(canister.query("get", argument)), 10);
  });

  test("traps name the functions and leave the state", () => {
    const canister = installed();
    const assertion = trapOf(canister.update("fail", argument));
    equal(assertion.errorCode, 503);
    ok(
      assertion.message.startsWith(
        "Canister called `ic0.trap` with message: 'assertion failed at Main.mo:",
      ),
    );
    const division = trapOf(canister.update("divide", { argument: bytes("DIDL\0\x01\x7d\0") }));
    equal(division.message.split(".\n")[0], "Canister trapped: integer division by 0");
    ok(division.backtrace.includes("outer"), division.backtrace.join(" "));
    equal(nat(canister.query("get", argument)), 0);
    const limit = trapOf(canister.update("grow", { ...argument, instructionLimit: 100_000n }));
    equal(limit.errorCode, 522);
  });

  test("calls itself and goes on in the callback", () => {
    const canister = installed();
    let calls = callsOf(canister.update("twice", argument));
    for (let i = 0; i < 2; i++) {
      equal(calls.length, 1);
      equal(calls[0]!.method, "inc");
      const reply = replyOf(canister.update("inc", { argument: calls[0]!.argument }));
      const { tableIndex, environment } = calls[0]!.onReply;
      const entry = { kind: "callback", tableIndex, environment } as const;
      const result = canister.freshCopy().run(entry, { mode: "replyCallback", argument: reply });
      const kept = canister.run(entry, { mode: "replyCallback", argument: reply });
      deepEqual(kept, result);
      calls = callsOf(kept);
      if (i === 1) equal(nat(kept), 3);
    }
    equal(nat(canister.query("get", argument)), 2);
  });

  test("sets and runs timers", () => {
    const canister = installed();
    const armed = canister.update("arm", argument);
    const dueNs = armed.kind === "finished" ? armed.changes.globalTimerNs : undefined;
    equal(dueNs, context().timeNs + 5_000_000_000n);
    const entry = { kind: "export", name: "canister_global_timer" } as const;
    const fired = canister.run(entry, {
      mode: "globalTimer",
      timeNs: dueNs!,
      caller: EMPTY.subarray(6),
    });
    const [call] = callsOf(fired);
    equal(call!.method, "__motoko_async_helper");
  });

  test("an upgrade with keep keeps the heap and changes the code", () => {
    const canister = installed();
    canister.update("inc", argument);
    const result = canister.install(prepareModule(second!), "keep", {
      ...argument,
      mode: "postUpgrade",
    });
    equal(result?.kind, "finished");
    equal(nat(canister.query("get", argument)), 1);
    equal(nat(canister.freshCopy().update("inc", argument)), 11);
    equal(nat(canister.update("inc", argument)), 11);
  });
});

function sizes(store: ChunkStore): [number, number] {
  return [store.heap.size, store.stable.size];
}

function withoutBacktrace(result: ExecutionResult): unknown {
  return result.kind === "finished"
    ? result
    : { ...result, trap: { ...result.trap, backtrace: [] } };
}
