// The compiler's messages as lines of text.

import type { Diagnostic } from "gyrotron/node";
import { printable, printProblem } from "./output.ts";

/** One line in the usual form `file:line:column: error[M0050]: message`; further lines are indented. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, severity, code, message } = diagnostic;
  const label = code === "" ? severity : `${severity}[${code}]`;
  return `${file}:${line}:${column}: ${label}: ${message.replaceAll("\n", "\n    ")}`;
}

/** Prints what the compiler has to say about a program that it accepted. */
export function showWarnings(warnings: readonly Diagnostic[]): void {
  for (const warning of warnings) printProblem(printable(formatDiagnostic(warning)));
}
