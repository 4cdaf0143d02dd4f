// The only file of the command line that prints. Colours only on a terminal that wants them.

import process from "node:process";

export type Tone = "plain" | "strong" | "faint" | "good" | "bad";

const CODES: Readonly<Record<Exclude<Tone, "plain">, string>> = {
  strong: "1",
  faint: "2",
  good: "32",
  bad: "31",
};

const isColoured = (process.stdout.isTTY === true &&
  process.env["NO_COLOR"] === undefined) as boolean;

// `| head` stops reading: that ends the command, it is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

/** Prints a result or a piece of news on standard output. */
export function print(text = "", tone: Tone = "plain"): void {
  process.stdout.write(`${paint(text, tone)}\n`);
}

/** Prints a piece of a line as it arrives. */
export function printPiece(text: string): void {
  process.stdout.write(text);
}

/** Prints on standard error: the one line that explains a failure, or a warning. */
export function printProblem(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The text in a tone, if the terminal shows colours. */
export function paint(text: string, tone: Tone): string {
  return tone === "plain" || !isColoured ? text : `\u001b[${CODES[tone]}m${text}\u001b[0m`;
}

/** One line under a name. */
export function fact(name: string, text: string, tone: Tone = "plain"): void {
  print(`${paint(name.padEnd(11), "faint")} ${paint(text, tone)}`);
}

/** A rate for people; empty if nothing was measured. */
export function tokensPerSecond(tokens: number, ms: number): string {
  if (tokens <= 0 || ms <= 0) return "";
  const rate = (tokens * 1000) / ms;
  return rate >= 100 ? rate.toFixed(0) : rate.toFixed(1);
}

/** Text of untrusted origin, safe for a terminal: control characters other than newline and tab are shown escaped. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what must not reach the terminal
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
