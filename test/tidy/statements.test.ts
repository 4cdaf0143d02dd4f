// Words that may not stay in the code: errors without a code, notes to oneself, switched-off checks,
// focused tests.

import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import {
  assertNone,
  codeOnly,
  type Finding,
  findMatches,
  isSource,
  isTest,
  isTypeScript,
  readRepository,
  type SourceFile,
} from "./source-tree.ts";

const files = readRepository().filter(isTypeScript);

// Spelt in parts, so that this file passes its own check.
const NOTE_WORDS = ["TO" + "DO", "FIX" + "ME", "X" + "XX"];
const NOTE = new RegExp(`\\b(${NOTE_WORDS.join("|")})\\b`, "g");
const SWITCH_OFF = new RegExp(`@ts-(${["ignore", "nocheck"].join("|")})\\b`, "g");

test("errors of the source have a code: no plain Error", () => {
  assertNone(files.filter(isSource).flatMap(findPlainErrors));
  const judge = (text: string): number => findPlainErrors({ path: "src/a/b.ts", text }).length;
  deepEqual(judge('throw new Error("x");'), 1);
  deepEqual(judge('throw new CyclesError({ code: "cycles/x" }); // not throw new Error("x")'), 0);
});

test("no notes to oneself and no switched-off types", () => {
  assertNone(files.flatMap(findNotes));
  const samples = [`// ${NOTE_WORDS[0]}: later`, `// @ts-${"ignore"}`, "// a hexadecimal 0xXXXX"];
  deepEqual(
    samples.map((text) => findNotes({ path: "src/a/b.ts", text }).length),
    [1, 1, 0],
  );
});

test("no focused tests, and every skipped or postponed test says why", () => {
  assertNone(files.filter(isTest).flatMap(findFocused));
  const samples = ['test.only("x", f);', 'test("x", { skip: true }, f);', 'test("x", f);'];
  deepEqual(
    samples.map((text) => findFocused({ path: "src/a/b.test.ts", text }).length),
    [1, 1, 0],
  );
});

function findPlainErrors(file: SourceFile): Finding[] {
  if (isTest(file)) return [];
  return findMatches(file, codeOnly(file.text), /\bthrow new Error\b/g, "error without a code");
}

function findNotes(file: SourceFile): Finding[] {
  const notes = findMatches(file, file.text, NOTE, "note to oneself");
  return [...notes, ...findMatches(file, file.text, SWITCH_OFF, "types switched off")];
}

function findFocused(file: SourceFile): Finding[] {
  const code = codeOnly(file.text);
  const focused = findMatches(file, code, /\b(test|it|describe)\.(only|skip|todo)\b/g, "focused");
  return [
    ...focused,
    ...findMatches(file, code, /\b(skip|todo): true\b/g, "skipped without a reason"),
  ];
}
