// Canister logs: a ring bounded in bytes, kept in state, and the same lines for the node's console.

import { utf8TextLossy } from "gyrotron/base";
import type { ExecutionResult } from "gyrotron/canister";
import type { BlockContext } from "../block-context.ts";
import type { ConsoleLine } from "../contract.ts";
import type { CanisterRecord, LogRecord } from "../state/records.ts";

/** Lines of one block that reach the console; the log in state has its own limit. */
const CONSOLE_LINES_MAX = 10_000;
/** Bytes of a line on the console. */
const CONSOLE_LINE_BYTES_MAX = 10_000;
/** Bytes that a record takes besides its content. */
const RECORD_OVERHEAD_BYTES = 20;

/** Appends what an execution printed, and drops the oldest records beyond the limit. */
export function appendLogs(
  context: BlockContext,
  canister: CanisterRecord,
  result: ExecutionResult,
): void {
  for (const line of consoleLines(canister.id, context.timeNs, result)) {
    if (context.console.length >= CONSOLE_LINES_MAX) break;
    context.console.push(line);
  }
  if (result.logs.length === 0 || canister.settings.logMemoryLimit === 0n) return;
  const log = [...context.state.log(canister.id)];
  for (const content of result.logs) {
    log.push({
      index: canister.nextLogIndex++,
      timeNs: context.timeNs,
      content: content.slice(0, contentBytesMax(canister)),
    });
  }
  context.state.putLog(canister.id, keptLog(canister, log));
}

/** The newest records of a log that the setting logMemoryLimit leaves. */
export function keptLog(canister: CanisterRecord, log: LogRecord[]): LogRecord[] {
  return dropOldest(log, Number(canister.settings.logMemoryLimit));
}

/** Bytes that a log takes. */
export function logBytes(log: readonly LogRecord[]): bigint {
  return BigInt(log.reduce((sum, { content }) => sum + content.length + RECORD_OVERHEAD_BYTES, 0));
}

/** An execution's prints, and its trap with function names, for the operator. */
export function consoleLines(
  canisterId: Uint8Array,
  timeNs: bigint,
  result: ExecutionResult,
): ConsoleLine[] {
  const lines = result.logs.map((content) => ({
    canisterId,
    timeNs,
    text: utf8TextLossy(content.subarray(0, CONSOLE_LINE_BYTES_MAX)),
  }));
  if (result.kind === "trapped" && result.trap.backtrace.length > 0) {
    lines.push({
      canisterId,
      timeNs,
      text: `Canister Backtrace:\n${result.trap.backtrace.join("\n")}`,
    });
  }
  return lines;
}

function contentBytesMax(canister: CanisterRecord): number {
  return Number(canister.settings.logMemoryLimit) - RECORD_OVERHEAD_BYTES;
}

function dropOldest(log: LogRecord[], bytesMax: number): LogRecord[] {
  let bytes = 0;
  let kept = log.length;
  while (kept > 0) {
    bytes += log[kept - 1]!.content.length + RECORD_OVERHEAD_BYTES;
    if (bytes > bytesMax) break;
    kept--;
  }
  return log.slice(kept);
}
