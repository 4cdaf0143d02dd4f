// What can go wrong between a source file and a module. Owns no behaviour.

import { GyrotronError } from "gyrotron/base";

/** A message of the Motoko compiler. Lines and columns count from 1. */
export interface Diagnostic {
  readonly severity: "error" | "warning" | "note";
  /** Path as the user would write it, relative to the working folder. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Motoko's own number such as M0050; empty if it gave none. */
  readonly code: string;
  readonly message: string;
}

export type CompilerErrorInfo =
  | { code: "compiler/file-unreadable"; file: string; reason: string }
  /** No ending that a compiler here knows. */
  | { code: "compiler/unknown-kind"; file: string }
  /** The file ends in .wasm or .wasm.gz but holds something else. */
  | { code: "compiler/not-wasm"; file: string; reason: string }
  /** The program has mistakes; at least one diagnostic is an error. */
  | { code: "compiler/rejected"; file: string; diagnostics: readonly Diagnostic[] }
  /** A compiler of the user's own project did not make a module: its message. */
  | { code: "compiler/refused"; file: string; what: string; message: string }
  /** The compiler is not in the project of the file; `install` is the command that puts it there. */
  | { code: "compiler/not-installed"; file: string; what: string; install: string }
  /** The compiler itself failed. */
  | { code: "compiler/crashed"; file: string; reason: string };

/** A source file that gives no module. */
export class CompilerError extends GyrotronError<CompilerErrorInfo> {}
