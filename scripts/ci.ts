// The only entry point of all finite checks (`npm test`): static checks, unit and property tests,
// then the tests across areas, two at a time. Needs no global tool. Its last line is `N passed, N failed`, with
// `, N skipped` if any were; it exits with 0 only if something passed and nothing failed.
//
//   node scripts/ci.ts [--only static|unit|e2e] [--grep PATTERN]

import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { ReportLine, TestLine } from "./ci-reporter.ts";
import { runProcess } from "./process.ts";

const ROOT = resolve(import.meta.dirname, "..");
const BIN = join(ROOT, "node_modules", ".bin");
const PINNED_NODE = join(BIN, "node");

/** All stages together; a hanging test must not take the whole build with it. */
const TOTAL_MS_MAX = 28 * 60_000;
const STATIC_MS_MAX = 3 * 60_000;
const UNIT_GROUP_MS_MAX = 8 * 60_000;
const UNIT_TEST_MS_MAX = 2 * 60_000;
const ACROSS_FILE_MS_MAX = 12 * 60_000;
const ACROSS_TEST_MS_MAX = 8 * 60_000;
const CONCURRENCY = 2;
/** How many of the slowest tests are named at the end, for whoever must shorten the whole. */
const SLOWEST_SHOWN = 12;

/** Areas whose tests own processes, threads or files, and therefore get a process each. */
const ISOLATED_AREAS: ReadonlySet<string> = new Set(["src/cli", "src/node"]);
/** Its folders are tasks of their own, as it takes as long as all other areas together. */
const LARGE_AREA = "src/backend";
/** Compiled code from one process to the next, in the folder that `bin/gyrotron.js` uses. */
const COMPILE_CACHE = join(ROOT, "node_modules", ".cache", "gyrotron");
const RESOLVER = pathToFileURL(join(ROOT, "bin", "resolve-sources.js")).href;

type Stage = "static" | "unit" | "e2e";

interface Outcome {
  readonly stage: Stage;
  readonly name: string;
  readonly tests: readonly TestLine[];
  readonly output: string;
  readonly seconds: number;
}

interface Task {
  readonly stage: Stage;
  readonly name: string;
  run(timeoutMs: number): Promise<{ tests: TestLine[]; output: string }>;
}

interface Selection {
  readonly only: Stage | undefined;
  readonly grep: string | undefined;
}

const startedMs = performance.now();
const scratch = mkdtempSync(join(tmpdir(), "gyrotron-ci-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

reexecuteUnderPinnedNode();
process.exitCode = await main(readSelection());

async function main(selection: Selection): Promise<number> {
  process.env["NODE_COMPILE_CACHE"] ??= COMPILE_CACHE;
  const tasks = [...staticTasks(selection), ...unitTasks(selection), ...acrossTasks(selection)];
  const { only } = selection;
  return summarise(
    await runTasks(only === undefined ? tasks : tasks.filter(({ stage }) => stage === only)),
  );
}

// Static checks

function staticTasks(selection: Selection): Task[] {
  if (selection.grep !== undefined && selection.only !== "static") return [];
  const checks: [string, [string, ...string[]]][] = [
    ["types of the portable core", [join(BIN, "tsc"), "-p", "tsconfig.core.json", "--noEmit"]],
    ["types of node, tests, scripts", [join(BIN, "tsc"), "-p", "tsconfig.json", "--noEmit"]],
    ["lint", [join(BIN, "oxlint"), "--type-aware", "--deny-warnings"]],
    ["format", [join(BIN, "prettier"), "--check", "--log-level", "warn", "."]],
  ];
  const tasks = checks.map(([name, command]): Task => ({
    stage: "static",
    name,
    async run(timeoutMs) {
      const limit = Math.min(timeoutMs, STATIC_MS_MAX);
      const finished = await runProcess(command, { cwd: ROOT, timeoutMs: limit });
      const passed = finished.status === 0;
      const detail = finished.timedOut ? `not finished within ${limit / 1000} s` : "";
      const test = testLine(name, "", passed ? "passed" : "failed", detail);
      return { tests: [test], output: passed ? "" : finished.output };
    },
  }));
  const tidy = testFiles("test/tidy/**/*.test.ts");
  return tidy.length === 0 ? tasks : [...tasks, testTask("static", "tidy", tidy, true, selection)];
}

// Tests beside the source: one process for each area, so that a crash is known by its area

function unitTasks(selection: Selection): Task[] {
  return [...Map.groupBy(testFiles("src/**/*.test.ts"), areaOf)].map(([area, files]) =>
    testTask("unit", area, files, !ISOLATED_AREAS.has(area), selection),
  );
}

function areaOf(file: string): string {
  const folders = dirname(file).split("/");
  const area = folders.slice(0, 2).join("/");
  return area === LARGE_AREA ? folders.slice(0, 3).join("/") : area;
}

// Tests across areas: real processes, each file by itself

function acrossTasks(selection: Selection): Task[] {
  const files = testFiles("test/**/*.test.ts").filter((file) => !file.startsWith("test/tidy/"));
  return files.map((file) => testTask("e2e", file, [file], false, selection));
}

function testFiles(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT })
    .map((file) => file.replaceAll("\\", "/"))
    .toSorted();
}

function testTask(
  stage: Stage,
  name: string,
  files: readonly string[],
  sharesProcess: boolean,
  selection: Selection,
): Task {
  return {
    stage,
    name,
    async run(timeoutMs) {
      const report = join(scratch, `${name.replaceAll("/", "-")}.ndjson`);
      const perTask = stage === "e2e" ? ACROSS_FILE_MS_MAX : UNIT_GROUP_MS_MAX;
      const limit = Math.min(timeoutMs, perTask);
      const command: [string, ...string[]] = [
        PINNED_NODE,
        "--conditions=source",
        `--import=${RESOLVER}`,
        "--disable-warning=ExperimentalWarning",
        "--test",
        `--test-isolation=${sharesProcess ? "none" : "process"}`,
        "--test-concurrency=1",
        `--test-timeout=${stage === "e2e" ? ACROSS_TEST_MS_MAX : UNIT_TEST_MS_MAX}`,
        `--test-reporter=${join(ROOT, "scripts", "ci-reporter.ts")}`,
        `--test-reporter-destination=${report}`,
        ...(selection.grep === undefined ? [] : [`--test-name-pattern=${selection.grep}`]),
        ...files,
      ];
      const finished = await runProcess(command, { cwd: ROOT, timeoutMs: limit });
      const lines = readReport(report);
      const tests = lines
        .filter((line) => line.kind === "test")
        .filter(
          (line) => !(line.isFile && line.outcome === "passed" && selection.grep !== undefined),
        )
        .map((line) => (line.isFile && line.outcome === "passed" ? withoutTests(line) : line));
      if (finished.timedOut) {
        const silent = files.filter((file) => !tests.some((line) => line.file.endsWith(file)));
        const detail = `not finished within ${limit / 1000} s; no result of ${silent.join(" ")}`;
        tests.push(testLine(name, "", "failed", detail));
      } else if (!lines.some((line) => line.kind === "end")) {
        const status = finished.status ?? "none";
        tests.push(testLine(name, "", "failed", `ended before its report, exit status ${status}`));
      } else if (finished.status !== 0 && !tests.some((line) => line.outcome === "failed")) {
        tests.push(testLine(name, "", "failed", `exit status ${finished.status ?? "none"}`));
      }
      const failed = tests.some((line) => line.outcome === "failed");
      return { tests, output: failed ? finished.output : "" };
    },
  };
}

function readReport(path: string): ReportLine[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  // A crash may cut the last line; only whole lines end in a newline.
  return lines.slice(0, -1).map((line) => JSON.parse(line) as ReportLine);
}

function withoutTests(line: TestLine): TestLine {
  return { ...line, outcome: "failed", detail: "the file holds no test" };
}

function testLine(
  name: string,
  file: string,
  outcome: TestLine["outcome"],
  detail: string,
): TestLine {
  return { kind: "test", name, file, isFile: false, outcome, detail, seconds: 0 };
}

// Running and telling

async function runTasks(tasks: readonly Task[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = [...tasks];
  const worker = async (): Promise<void> => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      const before = performance.now();
      const leftMs = TOTAL_MS_MAX - (before - startedMs);
      const result =
        leftMs > 0
          ? await task.run(leftMs)
          : { tests: [testLine(task.name, "", "failed", "no time left")], output: "" };
      const outcome = { stage: task.stage, name: task.name, seconds: seconds(before), ...result };
      outcomes.push(outcome);
      tell(outcome);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return outcomes;
}

function tell(outcome: Outcome): void {
  const failed = outcome.tests.filter((line) => line.outcome === "failed");
  const mark = failed.length === 0 ? "ok  " : "FAIL";
  const time = outcome.seconds.toFixed(1).padStart(6);
  print(`${mark} ${time} s  ${outcome.stage.padEnd(6)} ${outcome.name} (${outcome.tests.length})`);
  if (failed.length > 0 && outcome.output.trim() !== "") print(outcome.output.trimEnd());
  for (const line of failed) {
    print(`  FAILED ${whereFrom(line)}${line.name}`);
    const lines = line.detail.split("\n").filter((text) => !text.includes("(node:internal"));
    if (line.detail !== "") print(lines.map((text) => `    ${text}`).join("\n"));
  }
}

function summarise(outcomes: readonly Outcome[]): number {
  const tests = outcomes.flatMap((outcome) => outcome.tests);
  const of = (outcome: TestLine["outcome"]): TestLine[] =>
    tests.filter((line) => line.outcome === outcome);
  const [passed, failed, skipped] = [of("passed"), of("failed"), of("skipped")];
  for (const line of skipped) print(`skipped ${whereFrom(line)}${line.name}: ${line.detail}`);
  for (const line of failed) print(`failed  ${whereFrom(line)}${line.name}`);
  for (const line of tests.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST_SHOWN)) {
    print(`slow    ${line.seconds.toFixed(1).padStart(5)} s ${whereFrom(line)}${line.name}`);
  }
  print(`all stages: ${seconds(startedMs)} s`);
  const count = `${passed.length} passed, ${failed.length} failed`;
  print(skipped.length === 0 ? count : `${count}, ${skipped.length} skipped`);
  return failed.length === 0 && passed.length > 0 ? 0 : 1;
}

function whereFrom(line: TestLine): string {
  return line.file === "" || line.isFile ? "" : `${relative(ROOT, line.file)}: `;
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 100) / 10;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

// Start-up

function readSelection(): Selection {
  try {
    const { values } = parseArgs({
      options: { only: { type: "string" }, grep: { type: "string" } },
    });
    const only = values.only;
    if (only === undefined || only === "static" || only === "unit" || only === "e2e") {
      return { only, grep: values.grep };
    }
    throw new TypeError(`--only takes static, unit or e2e, not ${only}`);
  } catch (error) {
    process.stderr.write(
      `scripts/ci.ts: ${error instanceof Error ? error.message : "bad flags"}\n`,
    );
    process.exit(2);
  }
}

function reexecuteUnderPinnedNode(): void {
  if (!existsSync(PINNED_NODE)) {
    process.stderr.write("scripts/ci.ts: node_modules/.bin/node is missing; run `npm ci` first\n");
    process.exit(2);
  }
  const pinned = `v${readPinnedVersion()}`;
  if (process.version === pinned) return;
  const again = [import.meta.filename, ...process.argv.slice(2)];
  const { status } = spawnSync(PINNED_NODE, again, { stdio: "inherit" });
  process.exit(status ?? 1);
}

function readPinnedVersion(): string {
  const manifest = join(ROOT, "node_modules", "node", "package.json");
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
