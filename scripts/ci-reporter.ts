// A reporter for node:test that writes one JSON line per finished test, for scripts/ci.ts to count.
// It owns the shape of those lines and nothing about how they are shown.

import type { TestEvent } from "node:test/reporters";

/** One finished test. Suites are not reported; a file that fails to load is reported as a test. */
export interface TestLine {
  readonly kind: "test";
  readonly name: string;
  readonly file: string;
  /** Whether this line stands for a whole file: it failed to load, or it holds no test. */
  readonly isFile: boolean;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it was skipped, or the error with its stack. */
  readonly detail: string;
  /** Wall time of the test with its subtests, in seconds. */
  readonly seconds: number;
}

/** The last line of a run that came to its end; a crashed run lacks it. */
export interface EndLine {
  readonly kind: "end";
}

/** A line of a report. */
export type ReportLine = TestLine | EndLine;

/** The reporter itself, called by Node with the stream of test events. */
export default async function* reportLines(
  source: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type === "test:stdout" || event.type === "test:stderr") {
      process.stderr.write(event.data.message);
    } else if (event.type === "test:pass" || event.type === "test:fail") {
      const line = lineFromEvent(event);
      if (line !== undefined) yield `${JSON.stringify(line)}\n`;
    }
  }
  yield `${JSON.stringify({ kind: "end" } satisfies EndLine)}\n`;
}

function lineFromEvent(
  event: Extract<TestEvent, { type: "test:pass" | "test:fail" }>,
): TestLine | undefined {
  const { data } = event;
  const file = data.file ?? "";
  const error = event.type === "test:fail" ? event.data.details.error : undefined;
  // A suite fails by itself only if its own body or hooks throw; failed tests are reported already.
  const isSuite = data.details.type === "suite";
  if (isSuite && (error === undefined || isSubtestFailure(error))) return undefined;
  const common = {
    kind: "test",
    name: data.name,
    file,
    isFile: data.nesting === 0 && file !== "" && file.endsWith(data.name),
    seconds: data.details.duration_ms / 1000,
  } as const;
  const reason = data.skip ?? data.todo;
  if (reason !== undefined && reason !== false) {
    const detail = typeof reason === "string" ? reason : "no reason given";
    return { ...common, outcome: "skipped", detail };
  }
  if (error === undefined) return { ...common, outcome: "passed", detail: "" };
  return { ...common, outcome: "failed", detail: describeError(error) };
}

function isSubtestFailure(error: Error): boolean {
  return "failureType" in error && error.failureType === "subtestsFailed";
}

function describeError(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.stack ?? cause.message;
}
