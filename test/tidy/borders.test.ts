// Areas meet only at their front doors: by package name, along the edges of scripts/layers.ts; the
// portable core imports no Node module; every third-party package has its one door.

import { deepEqual, equal } from "node:assert/strict";
import { posix } from "node:path";
import { test } from "node:test";
import {
  AREA_IMPORTS,
  findAreaCycle,
  MACHINE_AREAS,
  PACKAGE_IMPORTS,
  SIDE_DOORS,
} from "../../scripts/layers.ts";
import {
  areaOf,
  assertNone,
  codeOnly,
  type Finding,
  isTest,
  isTypeScript,
  lineAt,
  readRepository,
  type SourceFile,
  withoutComments,
} from "./source-tree.ts";

const files = readRepository().filter(isTypeScript);

test("every area is in the table, and the table has no cycle", () => {
  const areas = new Set(
    files.map((file) => areaOf(file.path)).filter((area) => area !== undefined),
  );
  deepEqual(
    [...areas].filter((area) => !(area in AREA_IMPORTS)),
    [],
  );
  equal(findAreaCycle(AREA_IMPORTS), undefined);
  deepEqual(findAreaCycle({ a: ["b"], b: ["c"], c: ["b"] }), ["b", "c", "b"]);
});

test("imports keep to the table of areas and packages", () => {
  assertNone(files.flatMap(findBorderCrossings));
});

const crossings: readonly [string, string, string][] = [
  ["src/base/x.ts", 'import { a } from "gyrotron/crypto";', "base may not import gyrotron/crypto"],
  [
    "src/crypto/x.ts",
    'import { a } from "gyrotron/base/bytes";',
    "deep import gyrotron/base/bytes",
  ],
  ["src/crypto/x.ts", 'export * from "../base/bytes.ts";', "leaves its area: ../base/bytes.ts"],
  ["src/base/x.ts", 'import { a } from "gyrotron/base";', "own area by name: gyrotron/base"],
  ["src/store/x.ts", 'import { readFileSync } from "node:fs";', "portable code imports node:fs"],
  ["src/store/x.ts", 'import { open } from "lmdb";', "store may not import the package lmdb"],
  ["src/node/x.ts", 'const a = await import("../base/a.ts");', "leaves its area: ../base/a.ts"],
  ["src/node/x.ts", 'import a from "gyrotron/cli";', "node may not import gyrotron/cli"],
  ["src/model/x.ts", 'import "gyrotron/node/models";', "model may not import gyrotron/node/models"],
  ["test/x.ts", 'import a from "../src/base/a.ts";', "reaches into src: ../src/base/a.ts"],
];

for (const [path, text, what] of crossings) {
  test(`the border check finds: ${what}`, () => {
    deepEqual(findBorderCrossings({ path, text }), [{ path, line: 1, what }]);
  });
}

test("the border check accepts what is allowed", () => {
  const text = `import { test } from "node:test";\nimport { a } from "./a/b.ts";\n// from "../x"`;
  deepEqual(findBorderCrossings({ path: "src/crypto/x.test.ts", text }), []);
  deepEqual(findBorderCrossings({ path: "src/node/x.ts", text: 'import "gyrotron/base";' }), []);
  deepEqual(
    findBorderCrossings({ path: "src/cli/x.ts", text: 'import "gyrotron/node/models";' }),
    [],
  );
  const suite = 'import { runSuite } from "../store/store-suite.ts";';
  deepEqual(findBorderCrossings({ path: "src/node/x.test.ts", text: suite }), []);
  deepEqual(findBorderCrossings({ path: "src/node/x.ts", text: suite }).length, 1);
});

const IMPORT = /\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g;

function findBorderCrossings(file: SourceFile): Finding[] {
  const view = withoutComments(file.text);
  const code = codeOnly(file.text); // blank where an import is only quoted, as in this file
  return [...view.matchAll(IMPORT)].flatMap((match) => {
    if (code[match.index] === " ") return [];
    const what = judgeImport(file, match[1]!);
    if (what === undefined) return [];
    // Offset of the specifier: the match may begin on an earlier line.
    const offset = match.index + match[0].indexOf(match[1]!);
    return [{ path: file.path, line: lineAt(view, offset), what }];
  });
}

function judgeImport(file: SourceFile, specifier: string): string | undefined {
  const area = areaOf(file.path);
  if (specifier.startsWith(".")) return judgeRelative(file, area, specifier);
  if (specifier.startsWith("gyrotron/")) return judgeArea(file, area, specifier);
  if (area === undefined || isTest(file)) return undefined;
  if (specifier.startsWith("node:")) {
    return MACHINE_AREAS.has(area) ? undefined : `portable code imports ${specifier}`;
  }
  const allowed = PACKAGE_IMPORTS[area] ?? [];
  const isAllowed = allowed.some((name) => specifier === name || specifier.startsWith(`${name}/`));
  return isAllowed ? undefined : `${area} may not import the package ${specifier}`;
}

function judgeRelative(
  file: SourceFile,
  area: string | undefined,
  specifier: string,
): string | undefined {
  const target = posix.join(posix.dirname(file.path), specifier);
  // A compliance suite is made to be run by the tests of whoever implements the contract.
  if (isTest(file) && target.endsWith("-suite.ts")) return undefined;
  if (isTest(file) && /^test\/.*fixture[\w-]*\.ts$/.test(target)) return undefined;
  // Benchmarks measure the inside: one kernel, one pass of the compiler.
  if (file.path.startsWith("bench/")) return undefined;
  if (area !== undefined) {
    return areaOf(target) === area ? undefined : `leaves its area: ${specifier}`;
  }
  return target.startsWith("src/") ? `reaches into src: ${specifier}` : undefined;
}

function judgeArea(
  file: SourceFile,
  area: string | undefined,
  specifier: string,
): string | undefined {
  const [, target, ...deeper] = specifier.split("/");
  if (deeper.length > 0 && !SIDE_DOORS.has([target, ...deeper].join("/")))
    return `deep import ${specifier}`;
  if (area === undefined) return undefined;
  // A test may come in by the front door, as a user would.
  if (target === area) return isTest(file) ? undefined : `own area by name: ${specifier}`;
  const allowed = AREA_IMPORTS[area] ?? [];
  return allowed.includes(target!) ? undefined : `${area} may not import ${specifier}`;
}
