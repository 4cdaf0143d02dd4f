// Files are small, named for one subject, and say first what they own.

import { deepEqual } from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import {
  assertNone,
  type Finding,
  isTypeScript,
  readRepository,
  type SourceFile,
} from "./source-tree.ts";

const LINES_ASK_REASON = 600;
const LINES_MAX = 1000;

/** Tables and generated data, which may be long. */
const TABLES: ReadonlySet<string> = new Set([]);

/** Names that say nothing about a file's subject. */
const EMPTY_NAMES: ReadonlySet<string> = new Set([
  "common",
  "helper",
  "helpers",
  "misc",
  "shared",
  "types",
  "util",
  "utils",
]);

const CODE_NAME =
  /^[a-z0-9]+(-[a-z0-9]+)*(\.(as|bench|browser|d|fuzz|gpu|test|wgsl))*\.(js|mjs|ts)$/;

const files = readRepository();

test("every file of code says first what it owns", () => {
  assertNone(files.filter(isTypeScript).flatMap(findMissingModuleComment));
  deepEqual(findMissingModuleComment({ path: "src/a/b.ts", text: "const a = 1;\n" }).length, 1);
});

test("files are short, or say why they are long", () => {
  assertNone(files.filter(isTypeScript).flatMap(findTooLong));
  const lines = (count: number): string => "x;\n".repeat(count);
  const judge = (text: string): number => findTooLong({ path: "src/a/b.ts", text }).length;
  deepEqual([600, 601, 1001].map(lines).map(judge), [0, 1, 1]);
  deepEqual(judge(`// Long because it is one table.\n\n${lines(700)}`), 0);
});

test("files of code are kebab-case and named after a subject", () => {
  assertNone(files.flatMap(findBadName));
  const names = ["src/a/fooBar.ts", "src/a/utils.ts", "src/a/types.test.ts", "src/a/state-tree.ts"];
  deepEqual(
    names.flatMap((path) => findBadName({ path, text: "" })).map(({ path }) => path),
    names.slice(0, 3),
  );
});

test("text has no trailing blanks, carriage returns or control characters", () => {
  assertNone(files.flatMap(findStrayCharacters));
  const bad = ["a \n", "a\r\n", "a\u0007\n", "a\u202eb\n", "a"];
  deepEqual(
    bad.map((text) => findStrayCharacters({ path: "src/a/b.ts", text }).length),
    [1, 1, 1, 1, 1],
  );
});

function findMissingModuleComment(file: SourceFile): Finding[] {
  const first = file.text.replace(/^#!.*\n/, "");
  if (/^(\/\/ ?\S|\/\*)/.test(first)) return [];
  return [{ path: file.path, line: 1, what: "no module comment" }];
}

function findTooLong(file: SourceFile): Finding[] {
  const count = file.text.split("\n").length - 1;
  if (count <= LINES_ASK_REASON || TABLES.has(file.path)) return [];
  const moduleComment = file.text.split(/\n\s*\n/, 1)[0] ?? "";
  if (count <= LINES_MAX && moduleComment.includes("Long because")) return [];
  const limit = count > LINES_MAX ? `${LINES_MAX} lines at most` : `"Long because" is missing`;
  return [{ path: file.path, line: count, what: `${count} lines: ${limit}` }];
}

function findBadName(file: SourceFile): Finding[] {
  const name = basename(file.path);
  if (!/\.(js|mjs|ts)$/.test(name)) return [];
  const finding = (what: string): Finding[] => [{ path: file.path, line: 1, what }];
  if (!CODE_NAME.test(name)) return finding("the name is not kebab-case");
  if (EMPTY_NAMES.has(name.split(".")[0]!)) return finding("the name says nothing");
  return [];
}

function findStrayCharacters(file: SourceFile): Finding[] {
  // Third-party texts stay as they are.
  if (file.path === "LICENSE" || /(^|\/)vectors\//.test(file.path)) return [];
  const found: Finding[] = [];
  for (const [index, line] of file.text.split("\n").entries()) {
    const add = (what: string): number => found.push({ path: file.path, line: index + 1, what });
    if (line.endsWith("\r")) add("carriage return");
    else if (/[ \t]$/.test(line)) add("trailing blank");
    else if (/[\u0000-\u0008\u000b-\u001f\u007f\u0080-\u009f]/.test(line)) add("control character");
    else if (/[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]/.test(line))
      add("invisible character");
  }
  if (file.text !== "" && !file.text.endsWith("\n")) {
    found.push({
      path: file.path,
      line: file.text.split("\n").length,
      what: "no newline at the end",
    });
  }
  return found;
}
