// Where a measurement was taken and how it is kept: one line of JSON for each run.

import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

const ROOT = resolve(import.meta.dirname, "..");

/** Facts about the machine and the code that a figure depends on. */
export function describeRun(): Record<string, string | number> {
  return {
    time: new Date().toISOString(),
    commit: commitId(),
    node: process.version,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

/** Appends a run to bench/results/NAME.ndjson. */
export function appendResult(name: string, result: Record<string, unknown>): void {
  const folder = join(ROOT, "bench", "results");
  mkdirSync(folder, { recursive: true });
  appendFileSync(join(folder, `${name}.ndjson`), `${JSON.stringify(result)}\n`);
}

/** Value below which the share `quantile` of the sorted values lies. */
export function percentile(sorted: readonly number[], quantile: number): number {
  const index = Math.min(sorted.length - 1, Math.floor(quantile * sorted.length));
  return Math.round((sorted[index] ?? 0) * 100) / 100;
}

function commitId(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short=10", "HEAD"], {
      cwd: ROOT,
      encoding: "utf8",
    }).trim();
  } catch {
    return "unknown";
  }
}
