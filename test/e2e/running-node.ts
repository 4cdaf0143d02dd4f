// Starts the command line as a user would, in a process of its own, and waits for what it says.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

const BIN = resolve(import.meta.dirname, "../../bin/gyrotron.js");
const READY_MS_MAX = 120_000;
/** A command that runs longer hangs, such as a node that started although it should not. */
const COMMAND_MS_MAX = 90_000;

/** A node in a process of its own. */
export interface RunningNode {
  readonly url: string;
  readonly port: number;
  readonly child: ChildProcess;
  /** Everything it has printed. */
  output(): string;
  /** Resolves when its output matches; rejects if it ends before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  /** Stops it in good order and gives its exit status. */
  stop(): Promise<number | null>;
}

/** What a finished command printed. */
export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gyrotron-e2e-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs `gyrotron start` on a free port. */
export async function startNode(
  dataFolder: string,
  flags: readonly string[] = [],
): Promise<RunningNode> {
  const args = [BIN, "start", "--port", "0", "--data", dataFolder, ...flags];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const log = watchOutput(child);
  const ready = await log.waitFor(/ready at (http:\/\/127\.0\.0\.1:(\d+))/);
  const [, url = "", port = ""] = ready;
  const stop = (): Promise<number | null> => {
    const { promise, resolve: ended } = Promise.withResolvers<number | null>();
    if (child.exitCode !== null) return Promise.resolve(child.exitCode);
    child.once("exit", (status) => ended(status));
    child.kill("SIGINT");
    return promise;
  };
  return { url, port: Number(port), child, output: log.text, waitFor: log.waitFor, stop };
}

/** Runs `gyrotron ARGS` to its end. */
export async function runCli(
  args: readonly string[],
  cwd: string = process.cwd(),
): Promise<CommandResult> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const { promise, resolve: ended } = Promise.withResolvers<number | null>();
  child.once("close", (status) => ended(status));
  const timer = setTimeout(() => child.kill("SIGINT"), COMMAND_MS_MAX);
  const status = await promise;
  clearTimeout(timer);
  return {
    status,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

function watchOutput(child: ChildProcess): Pick<RunningNode, "waitFor"> & { text(): string } {
  let text = "";
  const waiting = new Set<() => void>();
  const append = (chunk: Buffer): void => {
    text += chunk.toString();
    for (const check of waiting) check();
  };
  child.stdout?.on("data", append);
  child.stderr?.on("data", append);
  return {
    text: () => text,
    waitFor(pattern) {
      const { promise, resolve: found, reject } = Promise.withResolvers<RegExpExecArray>();
      const settle = (): void => {
        clearTimeout(timer);
        waiting.delete(check);
        child.off("exit", ended);
      };
      const check = (): void => {
        const match = pattern.exec(text);
        if (match === null) return;
        settle();
        found(match);
      };
      const ended = (): void => {
        settle();
        reject(new Error(`it ended without printing ${pattern}: ${text}`));
      };
      const timer = setTimeout(ended, READY_MS_MAX);
      waiting.add(check);
      child.once("exit", ended);
      check();
      return promise;
    },
  };
}
