// Resident memory of a process and its children, as the operating system counts it (Linux).

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
