// Documents point at things that exist, and every decision and dependency is on record.

import { deepEqual } from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import {
  assertNone,
  type Finding,
  findMatches,
  readRepository,
  ROOT,
  type SourceFile,
} from "./source-tree.ts";

const files = readRepository();
const documents = files.filter((file) => file.path.endsWith(".md"));

test("links and paths in documents lead somewhere", () => {
  assertNone(documents.flatMap(findDeadLinks));
  const judge = (text: string): string[] =>
    findDeadLinks({ path: "docs/adr/x.md", text }).map(({ what }) => what);
  deepEqual(judge("[a](../nowhere.md) [b](README.md#c) [d](https://example.org)"), [
    "dead link: ../nowhere.md",
  ]);
  deepEqual(judge("`src/nowhere.ts`, `src/base/`, `src/*/index.ts`, `bench/`"), [
    "dead path: src/nowhere.ts",
  ]);
});

test("docs/adr lists every record, and no two have a number", () => {
  const records = documents
    .map((file) => posix.relative("docs/adr", file.path))
    .filter((name) => /^\d{4}-/.test(name));
  const listed = [...readText("docs/adr/README.md").matchAll(/\]\((\d{4}-[^)]+)\)/g)];
  deepEqual(
    listed.map((match) => match[1]),
    records,
  );
  const numbers = records.map((name) => Number(name.slice(0, 4)));
  // Gaps are allowed: authors who work at the same time have ranges of their own.
  deepEqual(
    numbers,
    [...new Set(numbers)].toSorted((left, right) => left - right),
  );
});

test("every runtime dependency has a record of its own", () => {
  const { dependencies } = JSON.parse(readText("package.json")) as {
    dependencies: Record<string, string>;
  };
  const titles = documents.flatMap((file) => {
    const match = /^# \d{4} Dependency: (.*)$/m.exec(file.text);
    return match === null ? [] : [match[1]!];
  });
  const hasRecord = (name: string): boolean =>
    titles.some((title) => title.split(" ").includes(name.startsWith("@noble/") ? "noble" : name));
  deepEqual(
    Object.keys(dependencies).filter((name) => !hasRecord(name)),
    [],
  );
});

function findDeadLinks(file: SourceFile): Finding[] {
  const from = posix.dirname(file.path);
  const links = findMatches(file, file.text, /\]\((?!https?:|#|mailto:)[^)\s]+\)/g, "").map(
    ({ line, what }) => ({
      line,
      target: what.slice(": ](".length, -1).split("#")[0]!,
      kind: "link",
    }),
  );
  const paths = findMatches(
    file,
    file.text,
    /`(src|docs|scripts|test|examples)\/[\w./-]+`/g,
    "",
  ).map(({ line, what }) => ({ line, target: what.slice(": `".length, -1), kind: "path" }));
  return [...links, ...paths].flatMap(({ line, target, kind }) => {
    const path = kind === "link" ? posix.join(from, target) : target;
    return existsSync(join(ROOT, path))
      ? []
      : [{ path: file.path, line, what: `dead ${kind}: ${target}` }];
  });
}

function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}
