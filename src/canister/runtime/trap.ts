// Traps: error codes and texts (spec 06 §6), and the signal that unwinds Wasm when the host traps.
// Does not own V8's own traps (engine-trap.ts).

import type { Trap } from "../contract.ts";

/** The closed list of causes of IC0502. */
export type TrapCause =
  | "stack overflow"
  | "heap out of bounds"
  | "stable memory out of bounds"
  | "32 bit stable memory api used on a memory larger than 4GB"
  | "integer division by 0"
  | "unreachable"
  | "table out of bounds"
  | "cycles amount exceeds 64-bit representation"
  | "unknown";

/** A trap before it has a backtrace: what it is, what the caller sees, and what the log says. */
export interface TrapReason {
  readonly errorCode: number;
  readonly message: string;
  readonly logText: string;
}

/** Thrown by system calls to leave Wasm; caught by the session and turned into a value. */
export class TrapSignal extends Error {
  override readonly name = "TrapSignal";
  readonly reason: TrapReason;

  constructor(reason: TrapReason) {
    super(reason.message);
    this.reason = reason;
  }
}

/** The outcome that a reason gives, with function names from the engine. */
export function trapFromReason(reason: TrapReason, backtrace: readonly string[]): Trap {
  return { errorCode: reason.errorCode, message: reason.message, backtrace };
}

/** IC0502. */
export function trapped(cause: TrapCause): TrapReason {
  return describe(502, `Canister trapped: ${cause}`, help(HANDLE_FAILURES, "trapped"), cause);
}

/** IC0503: the canister called `ic0.trap`. */
export function calledTrap(message: string): TrapReason {
  const text = `Canister called \`ic0.trap\` with message: '${message}'`;
  const log = message === "" ? "(no message)" : message;
  return describe(503, text, help(HANDLE_FAILURES, "trapped-explicitly"), log);
}

/** IC0504: a system call was used against its contract, most likely by a toolchain. */
export function contractViolation(what: string): TrapReason {
  return describe(504, `Canister violated contract: ${what}`, TOOLCHAIN_HELP);
}

/** IC0504: a system call in an execution that may not make it. */
export function wrongMode(systemCall: string, modeName: string): TrapReason {
  const advice =
    "Check the ICP documentation to make sure APIs are being called in the correct message types.";
  return describe(
    504,
    `Canister violated contract: "ic0_${systemCall}" cannot be executed in ${modeName} mode`,
    help(advice, "calling-a-system-api-from-the-wrong-mode"),
  );
}

/** IC0504 with a text of its own and no advice. */
export function violationText(message: string): TrapReason {
  return describe(504, message, "");
}

/** IC0513: a callback that the table does not hold, or of another type. */
export function functionNotFound(tableIndex: bigint): TrapReason {
  return describe(
    513,
    `Canister requested to invoke a non-existent Wasm function ${tableIndex} from table 0`,
    TOOLCHAIN_HELP,
  );
}

/** IC0522. */
export function instructionLimitExceeded(limit: bigint): TrapReason {
  return describe(
    522,
    `Canister exceeded the limit of ${limit} instructions for single message execution.`,
    help(
      "Try optimizing this method to consume fewer instructions or split the work across multiple messages.",
      "instruction-limit-exceeded",
    ),
  );
}

/** IC0524: too much of the heap changed by one message. */
export function heapAccessLimitExceeded(limitPages: number): TrapReason {
  return describe(
    524,
    "Canister exceeded memory access limits: Exceeded the limit for the number of modified pages " +
      `in the Wasm memory in a single message execution: limit: ${limitPages * 4} KB`,
    help("Try splitting the work across multiple messages.", "memory-access-limit-exceeded"),
  );
}

/** IC0524: too much stable memory changed by one message. */
export function stableAccessLimitExceeded(limitBytes: number): TrapReason {
  return describe(
    524,
    "Canister exceeded memory access limits: Exceeded the limit for the number of modified pages " +
      `in the stable memory in a single message execution: limit: ${limitBytes / 1024} KB`,
    help(
      "Try optimizing the use of stable memory so that individual messages don't need to access as much stable memory.",
      "memory-access-limit-exceeded",
    ),
  );
}

/** IC0536: no such exported method. `kind` as in the export's name. */
export function methodNotFound(kind: string, name: string): TrapReason {
  return describe(
    536,
    `Canister has no ${kind} method '${name}'.`,
    help(
      "Check that the method being called is exported by the target canister.",
      "method-not-found",
    ),
  );
}

/** IC0539: the linear memory would outgrow the limit of the canister's settings. */
export function wasmMemoryLimitExceeded(limitBytes: bigint, bytes: bigint): TrapReason {
  return describe(
    539,
    `Canister exceeded its current Wasm memory limit of ${limitBytes} bytes. ` +
      `The peak Wasm memory usage was ${bytes} bytes. ` +
      "If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable. " +
      "Please reach out to the canister owner to investigate the reason for the increased memory usage. " +
      "It might be necessary to move data from the Wasm memory to the stable memory. " +
      "If such high Wasm memory usage is expected and safe, then the developer can increase " +
      "the Wasm memory limit in the canister settings.",
    help(
      "Try checking the canister for a possible memory leak or modifying it to use more stable memory instead of Wasm memory.",
      "wasm-memory-limit-exceeded",
    ),
  );
}

/** Unwinds the running Wasm. @throws TrapSignal always */
export function raise(reason: TrapReason): never {
  throw new TrapSignal(reason);
}

const HANDLE_FAILURES =
  "Consider gracefully handling failures from this canister or altering the canister to handle exceptions.";

const TOOLCHAIN_HELP =
  "This is likely an error with the compiler/CDK toolchain being used to build the canister. " +
  "Please report the error to IC devs on the forum: https://forum.dfinity.org and include which " +
  "language/CDK was used to create the canister.";

function help(suggestion: string, anchor: string): string {
  const link = `https://internetcomputer.org/docs/current/references/execution-errors#${anchor}`;
  return `${suggestion} See documentation: ${link}`;
}

function describe(errorCode: number, text: string, advice: string, logText = text): TrapReason {
  return { errorCode, message: advice === "" ? text : `${text}.\n${advice}`, logText };
}
