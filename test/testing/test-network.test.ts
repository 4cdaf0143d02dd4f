// What docs/guide/testing.md does not show of gyrotron/testing: large modules, chosen ids,
// inspect_message, blocks one by one, failed jobs, tokens, and the errors of wrong use.

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeUleb128, utf8Text } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL } from "gyrotron/candid";
import { CYCLES_LEDGER_ID } from "gyrotron/replica";
import { createTestNetwork, TestError, type TestErrorInfo } from "gyrotron/testing";
import { asker, REQUEST } from "../replica/job-network.ts";
import { forwardArgument, PROXY } from "../replica/proxy.ts";
import { wat } from "../replica/harness.ts";

/** Prints and returns its caller; refuses calls by the anonymous user. */
const NAMER = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_caller_size" (func $size (result i32)))
  (import "ic0" "msg_caller_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (memory 1)
  (data (i32.const 100) "named")
  (func $answer
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (call $append (i32.const 0) (call $size))
    (call $reply))
  (func (export "canister_inspect_message")
    (if (i32.gt_u (call $size) (i32.const 1)) (then (call $accept))))
  (func (export "canister_update who") (call $print (i32.const 100) (i32.const 5)) (call $answer))
  (func (export "canister_query who_asks") (call $answer)))`);
const OUTCALL = IDL.Record({
  url: IDL.Text,
  max_response_bytes: IDL.Opt(IDL.Nat64),
  method: IDL.Variant({ get: IDL.Null }),
  headers: IDL.Vec(IDL.Record({ name: IDL.Text, value: IDL.Text })),
});
const SOMEBODY = "rrkah-fqaaa-aaaaa-aaaaq-cai";

test("callers are who the test says, and inspect_message sees them", () => {
  const network = createTestNetwork();
  const id = network.deploy(NAMER);
  const sender = SOMEBODY;
  const bytes = network.call(id, "who", undefined, { sender });
  equal(bytes.toHex(), "00000000000000010101");
  equal(network.query(id, "who_asks").toHex(), "04");
  deepEqual(infoOf(() => network.call(id, "who")).code, "testing/rejected");
  deepEqual(
    network.console.map(({ text }) => text),
    ["named"],
  );
});

test("a canister may have an id of one's choice, once", () => {
  const network = createTestNetwork();
  equal(network.createCanister({ id: SOMEBODY }).toText(), SOMEBODY);
  const info = infoOf(() => network.createCanister({ id: SOMEBODY }));
  ok(info.code === "testing/rejected" && info.errorCode === "IC0205");
});

test("large modules are installed in chunks", () => {
  const content = concatBytes(Uint8Array.of(1, 120), new Uint8Array(2_500_000));
  const size = encodeUleb128(content.length);
  const large = concatBytes(NAMER, Uint8Array.of(0), size, content);
  const network = createTestNetwork();
  const id = network.deploy(large);
  equal(network.query(id, "who_asks").toHex(), "04");
});

test("nothing happens until a block is made, and time moves forward only", () => {
  const network = createTestNetwork({ timeNs: 5_000_000_000n });
  const id = network.deploy(NAMER);
  const before = network.timeNs;
  const sent = network.submit(id, "who", undefined, { sender: SOMEBODY });
  equal(network.stateOf(sent).kind, "waiting");
  equal(network.timeNs, before);
  network.tick();
  equal(network.stateOf(sent).kind, "replied");
  equal(network.timeNs, before + 1n);
  network.setTime(before + 100n);
  deepEqual(infoOf(() => network.setTime(before)).code, "testing/time");
});

test("the same test gives the same bytes", () => {
  const run = (): string => {
    const network = createTestNetwork();
    const id = network.deploy(NAMER);
    const reply = network.call("aaaaa-aa", "canister_status", onlyId(id), {});
    return reply.toHex();
  };
  equal(run(), run());
});

test("jobs are answered, fail, or are not there", () => {
  const network = createTestNetwork();
  network.jobs.addModel("tiny");
  network.settle();
  const id = network.deploy(asker(0n));
  const content = { model: "tiny", messages: [{ role: { user: null }, content: "Hello" }] };
  const argument = encodeCandid([REQUEST], [content]);
  deepEqual(infoOf(() => network.call(id, "ask", argument)).code, "testing/no-answer");
  const second = network.submit(id, "ask", argument);
  network.settle();
  const [one, two] = network.jobs.waiting();
  deepEqual(one, { number: 0n, model: "tiny", messages: [{ role: "user", content: "Hello" }] });
  network.jobs.answer(one.number, "Good day");
  network.jobs.fail(two!.number, "too long a greeting");
  const cycles = network.cyclesOf(id);
  network.settle();
  ok(network.cyclesOf(id) > cycles, "what was reserved and not needed comes back");
  const state = network.stateOf(second);
  ok(state.kind === "rejected");
  ok(state.message.includes("too long a greeting"), state.message);
  deepEqual(network.jobs.waiting(), []);
  deepEqual(infoOf(() => network.jobs.answer(7n, "")).code, "testing/unknown-job");
});

test("outcalls are answered once, within their limits", () => {
  const network = createTestNetwork();
  const id = network.deploy(PROXY);
  const request = {
    url: "https://example.org/",
    max_response_bytes: [100n],
    method: { get: null },
  };
  const argument = encodeCandid([OUTCALL], [{ ...request, headers: [] }]);
  const sent = network.submit(id, "forward", forwardArgument("http_request", argument, 10n ** 9n));
  network.settle();
  const [waiting] = network.outcalls.waiting();
  ok(waiting !== undefined && waiting.method === "get" && waiting.responseBytesMax === 100);
  network.outcalls.answer(waiting.number, { body: new Uint8Array(101) });
  network.settle();
  const state = network.stateOf(sent);
  ok(state.kind === "replied");
  ok(utf8Text(state.reply)?.includes("exceeds size limit of 100 bytes"), "the size is limited");
  deepEqual(network.outcalls.waiting(), []);
  const info = infoOf(() => network.outcalls.answer(waiting.number, {}));
  equal(info.code, "testing/unknown-outcall");
});

test("a network where everything is free, with tokens", () => {
  const network = createTestNetwork({ priceNodes: 0 });
  const id = network.deploy(NAMER, { cycles: 7n });
  network.call(id, "who", undefined, { sender: SOMEBODY });
  network.advanceTime(86_400 * 365);
  network.settle();
  equal(network.cyclesOf(id), 7n);
  const [supply] = decodeCandid([IDL.Nat], network.query(CYCLES_LEDGER_ID, "icrc1_total_supply"));
  equal(supply, 10n ** 30n);
});

test("what is no service makes no actor", () => {
  const network = createTestNetwork();
  const info = infoOf(() => network.actor("aaaaa-aa", ({ IDL: types }) => types.Nat));
  equal(info.code, "testing/not-a-service");
});

function onlyId(id: unknown): Uint8Array {
  return encodeCandid([IDL.Record({ canister_id: IDL.Principal })], [{ canister_id: id }]);
}

/** What is wrong, according to the TestError that `action` throws. */
function infoOf(action: () => unknown): TestErrorInfo {
  let info: TestErrorInfo | undefined;
  throws(action, (error) => {
    info = error instanceof TestError ? error.info : undefined;
    return info !== undefined;
  });
  return info!;
}
