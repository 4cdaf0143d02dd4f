// The script language: what is read, and what is said of lines that cannot be.

import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { flagsOfSource, markCalls, parseScript, scriptFromSource } from "./script.ts";

const ID = "rwlgt-iiaaa-aaaaa-aaaaa-cai";

/** The argument of `ingress ID go ARG` as hex. */
function argumentOf(text: string): string | undefined {
  const parsed = parseScript(`ingress $ID go ${text}`, ID);
  return "commands" in parsed ? parsed.commands[0]?.argument.toHex() : undefined;
}

test("commands have three arguments; comments, blank lines and create are passed over", () => {
  const script = '# a test\n\ncreate x\n  install $ID a/b.wasm 0x\nquery   $ID get ""\n';
  deepEqual(parseScript(script, ID), {
    commands: [
      { kind: "install", canister: ID, module: "a/b.wasm", argument: new Uint8Array() },
      { kind: "query", canister: ID, method: "get", argument: new Uint8Array() },
    ],
  });
  deepEqual(parseScript("install x y", ID), { problem: "install command requires 3 arguments" });
  deepEqual(parseScript("query x y z z", ID), { problem: "query command requires 3 arguments" });
  deepEqual(parseScript("heartbeat", ID), { problem: "Unknown command: heartbeat" });
});

test("arguments are hex, or text with bytes in it", () => {
  equal(argumentOf("0x4449444C0000"), "4449444c0000");
  equal(argumentOf('"DIDL\\x00\\xfF"'), "4449444c00ff");
  equal(argumentOf('"\\b00000101a\\"\\\\"'), "0561225c");
  equal(argumentOf("$PRINCIPAL")?.slice(-20), "00000000000000000101");
  for (const wrong of ["0x1", "0xg0", "abc", '"a', '"a"b"', '"\\x1"', '"\\q"', '"\\b0101"', '"ä"'])
    deepEqual(parseScript(`ingress $ID go ${wrong}`, ID), {
      problem: `Invalid argument: ${wrong}`,
    });
});

test("sources say how they are called and compiled", () => {
  const source = [
    "//MOC-FLAG --stable-regions -A M0239",
    "actor a {};",
    'a.go(); //OR-CALL ingress go "DIDL\\x00\\x00"',
    "//CALL query get 0x",
    "//CALL upgrade",
    "// CALL ingress no 0x",
  ].join("\n");
  equal(
    scriptFromSource(source, "a.mo"),
    'install $ID a.mo 0x\ningress $ID go "DIDL\\x00\\x00"\nquery $ID get 0x\nupgrade $ID a.mo 0x',
  );
  equal(markCalls(source).includes("a.go()"), false);
  deepEqual(flagsOfSource(source), ["--legacy-actors", "--stable-regions", "-A", "M0239"]);
});
