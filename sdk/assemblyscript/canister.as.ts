// A message as a program sees it: argument, caller, reply, log, trap, clock and counter.

import {
  debugPrint, isControllerRaw, msgArgDataCopy, msgArgDataSize, msgCallerCopy, msgCallerSize, msgReject,
  msgReply, msgReplyDataAppend, performanceCounter, timeRaw, trapRaw,
} from "./ic0.as";

/** The argument's bytes. */
export function argumentBytes(): Uint8Array {
  const bytes = new Uint8Array(msgArgDataSize());
  msgArgDataCopy(bytes.dataStart, 0, bytes.length);
  return bytes;
}

/** The principal that sent the message. */
export function caller(): Uint8Array {
  const bytes = new Uint8Array(msgCallerSize());
  msgCallerCopy(bytes.dataStart, 0, bytes.length);
  return bytes;
}

/** Replies with bytes as they are. Once in a call. */
export function replyBytes(bytes: Uint8Array): void {
  msgReplyDataAppend(bytes.dataStart, bytes.length);
  msgReply();
}

/** Rejects with a text. Once in a call, instead of a reply. */
export function reject(reason: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(reason));
  msgReject(bytes.dataStart, bytes.length);
}

/** Writes a line to the canister's log. */
export function print(line: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(line));
  debugPrint(bytes.dataStart, bytes.length);
}

/** Ends the message and undoes what it did. */
export function trap(reason: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(reason));
  trapRaw(bytes.dataStart, bytes.length);
  unreachable();
}

/** Nanoseconds since 1970; the same during one message. */
export function time(): u64 {
  return timeRaw() as u64;
}

/** Instructions of this message so far. */
export function instructions(): u64 {
  return performanceCounter(0) as u64;
}

/** Whether a principal controls this canister. */
export function isController(principal: Uint8Array): bool {
  return isControllerRaw(principal.dataStart, principal.length) != 0;
}

/** What the compiler calls where a program fails: given to it as `--use abort=` by the deployment. */
export function abortCanister(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message === null ? "abort" : message;
  const where = file === null ? "" : ` in ${file}:${line}:${column}`;
  trap(what + where);
}
