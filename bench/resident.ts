// Memory and processor time of a process, as the operating system counts them (Linux).

import { readFileSync } from "node:fs";

/** MiB in physical memory of the process and everything it started; undefined where /proc is absent. */
export function residentMiB(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kib = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    const below = children
      .filter((text) => text !== "")
      .map((text) => residentMiB(Number(text)) ?? 0);
    return Math.round(kib / 1024) + below.reduce((sum, mib) => sum + mib, 0);
  } catch {
    return undefined;
  }
}

/** Processor time of a process with all its threads, ms; undefined where /proc is absent. */
export function processorMs(pid: number): number | undefined {
  try {
    // Fields after the name, which may contain spaces: utime and stime are the 12th and 13th.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
  } catch {
    return undefined;
  }
}

const MS_PER_TICK = 10;
