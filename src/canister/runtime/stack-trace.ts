// Deeper stack texts while a canister runs, for backtraces; the host's own setting is put back.

/** Frames worth showing. */
const FRAMES_MAX = 50;

/** Runs `work` with `Error.stackTraceLimit` raised; a no-op on engines without it. */
export function withStackTraces(work: () => void): void {
  const settings = Error as { stackTraceLimit?: number };
  const before = settings.stackTraceLimit;
  settings.stackTraceLimit = FRAMES_MAX;
  try {
    work();
  } finally {
    if (before === undefined) delete settings.stackTraceLimit;
    else settings.stackTraceLimit = before;
  }
}
