// docs/reference/FEATURES.md says what works of the ICP interface; this holds the page to the code:
// what it lists as working is implemented, what it lists as missing is not, the tests it names exist.

import { deepEqual, equal, ok } from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { SYSTEM_CALL_NAMES } from "gyrotron/canister";
import { MANAGEMENT_METHODS, parseApiRoute } from "gyrotron/replica";

const ROOT = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(ROOT, "docs/reference/FEATURES.md"), "utf8");

interface Row {
  readonly name: string;
  readonly works: string;
  readonly shownBy: string;
  readonly remarks: string;
}

const endpoints = readTable("HTTP endpoints");
const systemCalls = readTable("System API (module ic0)");
const methods = readTable("Management canister (aaaaa-aa)");
const refusals = readTable("Refusals");
const rows = [...endpoints, ...systemCalls, ...methods, ...refusals];

test("every row has a state, and what works names its test", () => {
  for (const { name, works, shownBy, remarks } of rows) {
    ok(["yes", "partly", "no"].includes(works), `${name}: ${works}`);
    equal(shownBy !== "", works !== "no", `${name}: a test is named iff it works`);
    if (works === "partly") ok(remarks !== "", `${name}: partly, and no word on what is missing`);
  }
});

test("the tests named exist", () => {
  for (const { name, shownBy } of rows) {
    if (shownBy === "") continue;
    const [file, title] = shownBy.split(" › ");
    const path = join(ROOT, file!);
    ok(existsSync(path) && file!.endsWith(".test.ts"), `${name}: there is no test ${file}`);
    if (title !== undefined) {
      ok(readFileSync(path, "utf8").includes(title), `${name}: ${file} has no "${title}"`);
    }
  }
});

test("system calls listed as working are those of the runtime's table", () => {
  deepEqual(workingOf(systemCalls), [...SYSTEM_CALL_NAMES].toSorted(byText));
});

test("management methods listed as working are those that the replica knows", () => {
  deepEqual(workingOf(methods), [...MANAGEMENT_METHODS].toSorted(byText));
});

test("HTTP endpoints listed are those that are routed", () => {
  const routed = endpoints.filter(({ name }) => {
    const [method, path] = name.replaceAll(/<(ec|s)id>/g, "aaaaa-aa").split(" ");
    const route = parseApiRoute(method!, path!);
    return route !== undefined && route.ok;
  });
  deepEqual(workingOf(endpoints), workingOf(routed));
  deepEqual(workingOf(routed), routed.map(({ name }) => name).toSorted(byText));
});

test("the page has the counts of its tables", () => {
  const count = (table: readonly Row[]): string =>
    `${table.filter(({ works }) => works === "yes").length} of ${table.length}`;
  ok(
    page.includes(`Works: ${count(endpoints)} HTTP endpoints, ${count(systemCalls)} system calls`),
  );
  ok(page.includes(`${count(methods)} methods of the management canister`));
});

function workingOf(table: readonly Row[]): string[] {
  const working = table.filter(({ works }) => works !== "no");
  return working.map(({ name }) => name).toSorted(byText);
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Rows of the table below a heading; a row is `| name | works | shown by | remarks |`. */
function readTable(heading: string): Row[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  ok(section !== undefined, `no section ${heading}`);
  const lines = section.split("\n").filter((line) => line.startsWith("| `"));
  return lines.map((line) => {
    const [name, works, shownBy, remarks] = line
      .slice(1)
      .split("|")
      .map((cell) => cell.trim().replaceAll("`", ""));
    return { name: name!, works: works!, shownBy: shownBy!, remarks: remarks! };
  });
}
