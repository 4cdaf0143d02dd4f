// Every exported function, class, interface and type says in a docstring what it means.

import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import {
  assertNone,
  type Finding,
  isSource,
  isTest,
  readRepository,
  type SourceFile,
} from "./source-tree.ts";

test("every export has a docstring", () => {
  const files = readRepository().filter((file) => isSource(file) && !isTest(file));
  assertNone(files.flatMap(findUndocumented));
});

test("the check finds a missing docstring and passes over overloads", () => {
  const judge = (text: string): string[] =>
    findUndocumented({ path: "src/a/b.ts", text }).map(({ what }) => what);
  deepEqual(judge("export function f(): void {}"), ["no docstring: f"]);
  deepEqual(judge("\nexport abstract class A {}"), ["no docstring: A"]);
  deepEqual(judge("/** What it is. */\nexport interface A {}"), []);
  deepEqual(judge("/** It. */\nexport function f(a: 1): 1;\nexport function f(a: 2): 2;"), []);
});

const EXPORT =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type) (\w+)/;

function findUndocumented(file: SourceFile): Finding[] {
  const documented = new Set<string>();
  const found: Finding[] = [];
  const lines = file.text.split("\n");
  for (const [index, line] of lines.entries()) {
    const name = EXPORT.exec(line)?.[1];
    if (name === undefined) continue;
    if ((lines[index - 1] ?? "").trimEnd().endsWith("*/")) documented.add(name);
    else if (!documented.has(name)) {
      found.push({ path: file.path, line: index + 1, what: `no docstring: ${name}` });
    }
  }
  return found;
}
