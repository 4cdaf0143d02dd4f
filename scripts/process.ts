// Runs one child process of a check: output collected, a time limit, the whole process group ended
// when the limit passes.

import { spawn } from "node:child_process";
import process from "node:process";

/** What became of a child process. */
export interface Finished {
  /** Exit status; undefined if a signal or the time limit ended it. */
  readonly status: number | undefined;
  readonly timedOut: boolean;
  /** Standard output and error together, in order of arrival. */
  readonly output: string;
}

/** Runs `command` to its end or to the time limit; never rejects. */
export function runProcess(
  command: readonly [string, ...string[]],
  options: { readonly cwd: string; readonly timeoutMs: number },
): Promise<Finished> {
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: options.cwd,
    detached: true, // its own group, so that a limit reaches grandchildren too
    stdio: ["ignore", "pipe", "pipe"],
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    endGroup(child.pid);
  }, options.timeoutMs);
  const interrupt = (): void => {
    endGroup(child.pid);
    process.exit(130);
  };
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const finish = (status: number | undefined): void => {
    clearTimeout(timer);
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    resolve({ status, timedOut, output: Buffer.concat(chunks).toString("utf8") });
  };
  child.on("error", (error) => {
    chunks.push(Buffer.from(`${error.message}\n`));
    finish(undefined);
  });
  child.on("close", (code) => finish(code ?? undefined));
  return promise;
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group has already ended.
  }
}
