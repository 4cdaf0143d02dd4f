// Replicated code computes the same bytes on every machine: no clock, no chance, no locale, no
// float function whose last bit an engine may choose. Sorting without a comparison is the linter's
// affair, which knows a typed array from a list.

import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { MACHINE_AREAS } from "../../scripts/layers.ts";
import {
  areaOf,
  assertNone,
  codeOnly,
  type Finding,
  findMatches,
  isSource,
  isTest,
  readRepository,
  type SourceFile,
} from "./source-tree.ts";

const BANNED: readonly [RegExp, string][] = [
  [/\bnew Date\b|(?<![.\w])Date\b(?=[.(])/g, "clock"],
  [/\bperformance\.now\b/g, "clock"],
  [/(?<![.\w])set(Timeout|Interval|Immediate)\b/g, "timer"],
  [/\bMath\.random\b/g, "chance"],
  [/\bgetRandomValues\b/g, "chance"],
  [/(?<![.\w])Intl\b/g, "locale"],
  [/\.(localeCompare|toLocale\w+)\b/g, "locale"],
  [
    /\bMath\.(exp|expm1|log|log10|log1p|log2|pow|hypot|cbrt|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh)\b/g,
    "float function without exact bits",
  ],
];

/** Folders that only show people how far exact results are from binary64; no result comes from them. */
const FLOAT_FOLDERS: readonly string[] = ["src/backend/float64/"];

/** Areas whose bytes are hashed: JSON text may not get near them without a word of explanation. */
const HASHED_AREAS: ReadonlySet<string> = new Set(["canister", "consensus", "replica"]);

test("deterministic areas use nothing that may differ between machines", () => {
  assertNone(readRepository().filter(isDeterministic).flatMap(findNondeterminism));
});

const samples: readonly [string, string][] = [
  ["const a = Date.now();", "clock: Date"],
  ["const a = new Date(0);", "clock: new Date"],
  ["const a = Math.random();", "chance: Math.random"],
  ["const a = Math.exp(1);", "float function without exact bits: Math.exp"],
  ["a.localeCompare(b);", "locale: .localeCompare"],
  ["setTimeout(f, 1);", "timer: setTimeout"],
  ["const a = JSON.stringify(b);", "JSON text in a hashed area: JSON.stringify"],
];

for (const [text, what] of samples) {
  test(`the check finds ${what}`, () => {
    const path = "src/replica/x.ts";
    deepEqual(findNondeterminism({ path, text }), [{ path, line: 1, what }]);
  });
}

test("the check accepts comments, strings, comparisons and explained JSON", () => {
  const text = [
    "// Date.now() and Math.random() are banned here",
    'const a = "Math.exp(1)";',
    "names.sort(compareBytes);",
    "const b = Math.floor(1.5);",
    "// JSON: a log line for people, never hashed",
    "const c = JSON.stringify(b);",
  ].join("\n");
  deepEqual(findNondeterminism({ path: "src/replica/x.ts", text }), []);
});

function isDeterministic(file: SourceFile): boolean {
  const area = areaOf(file.path);
  if (FLOAT_FOLDERS.some((folder) => file.path.startsWith(folder))) return false;
  return isSource(file) && !isTest(file) && area !== undefined && !MACHINE_AREAS.has(area);
}

function findNondeterminism(file: SourceFile): Finding[] {
  const code = codeOnly(file.text);
  const found = BANNED.flatMap(([pattern, what]) => findMatches(file, code, pattern, what));
  if (!HASHED_AREAS.has(areaOf(file.path) ?? "")) return found;
  const lines = file.text.split("\n");
  const json = findMatches(file, code, /\bJSON\.stringify\b/g, "JSON text in a hashed area");
  const unexplained = json.filter(({ line }) => !/\/\/.*\bJSON\b/.test(lines[line - 2] ?? ""));
  return [...found, ...unexplained];
}
