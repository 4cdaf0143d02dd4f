// Everything that an area exports at its front door says in a docstring what it means. Constants
// and unions of error codes, whose names say it all, and exports between the files of one area may
// go without.

import { deepEqual } from "node:assert/strict";
import { posix } from "node:path";
import { test } from "node:test";
import {
  assertNone,
  type Finding,
  isSource,
  isTest,
  readRepository,
  type SourceFile,
} from "./source-tree.ts";

test("everything exported by an area's index has a docstring", () => {
  const files = readRepository().filter((file) => isSource(file) && !isTest(file));
  assertNone(findUndocumented(files));
});

const index = {
  path: "src/a/index.ts",
  text: 'export * from "./b.ts";\nexport { type C } from "./c.ts";',
};

const samples: readonly [string, string, readonly string[]][] = [
  ["src/a/b.ts", "export function f(): void {}", ["no docstring: f"]],
  ["src/a/b.ts", "\nexport abstract class A {}", ["no docstring: A"]],
  ["src/a/b.ts", "/** What it is. */\nexport interface A {}", []],
  ["src/a/b.ts", "/** It. */\nexport function f(a: 1): 1;\nexport function f(a: 2): 2;", []],
  ["src/a/c.ts", "\nexport type C = 1;\nexport type D = 2;", ["no docstring: C"]],
  ["src/a/inner.ts", "export function f(): void {}", []],
];

for (const [path, text, expected] of samples) {
  test(`the check judges ${path}: ${text.trim().split("\n").at(-1)}`, () => {
    deepEqual(
      findUndocumented([index, { path, text }]).map(({ what }) => what),
      expected,
    );
  });
}

const EXPORT =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type) (\w+)/;
const REEXPORT = /^export (?:type )?(\*|\{[^}]*\})(?: as \w+)? from "(\.[^"]+)"/gm;

/** Undocumented declarations among those that some area's index makes public. */
function findUndocumented(files: readonly SourceFile[]): Finding[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const doors = files.filter((file) => /^src\/[^/]+\/index\.ts$/.test(file.path));
  return doors.flatMap((door) => findBehind(door, undefined, byPath));
}

function findBehind(
  file: SourceFile,
  names: ReadonlySet<string> | undefined,
  byPath: ReadonlyMap<string, SourceFile>,
): Finding[] {
  const further = [...file.text.matchAll(REEXPORT)].flatMap(([, what, specifier]) => {
    const next = byPath.get(posix.join(posix.dirname(file.path), specifier!));
    if (next === undefined) return [];
    return findBehind(next, what === "*" ? names : namesOf(what!), byPath);
  });
  return [...findInFile(file, names), ...further];
}

function namesOf(braces: string): ReadonlySet<string> {
  const items = braces.slice(1, -1).split(",");
  return new Set(
    items.map(
      (item) =>
        item
          .trim()
          .replace(/^type /, "")
          .split(" ")[0]!,
    ),
  );
}

function findInFile(file: SourceFile, names: ReadonlySet<string> | undefined): Finding[] {
  const documented = new Set<string>();
  const found: Finding[] = [];
  const lines = file.text.split("\n");
  for (const [at, line] of lines.entries()) {
    const name = EXPORT.exec(line)?.[1];
    if (name === undefined || (names !== undefined && !names.has(name))) continue;
    if (name.endsWith("ErrorInfo")) continue;
    if ((lines[at - 1] ?? "").trimEnd().endsWith("*/")) documented.add(name);
    else if (!documented.has(name)) {
      found.push({ path: file.path, line: at + 1, what: `no docstring: ${name}` });
    }
  }
  return found;
}
