// What is wrong with a Candid text, and where. Owns no behaviour.

import { GyrotronError } from "gyrotron/base";

/** A Candid text that does not parse or does not fit its type. Offsets count UTF-16 units from 0. */
export type CandidErrorInfo =
  | { code: "candid/syntax"; what: string; offset: number }
  /** A value of the wrong type; `path` says which part, such as `argument 1, field age`. */
  | { code: "candid/mismatch"; path: string; expected: string; found: string; offset: number }
  | { code: "candid/argument-count"; expected: number; found: number };

export class CandidError extends GyrotronError<CandidErrorInfo> {}

/** The error as one sentence with the place in `text`. */
export function explainCandidError(error: CandidError, text: string): string {
  const info = error.info;
  switch (info.code) {
    case "candid/syntax":
      return `${info.what} ${placeOf(text, info.offset)}`;
    case "candid/mismatch":
      return `${info.path} must be ${info.expected} but is ${info.found} ${placeOf(text, info.offset)}`;
    case "candid/argument-count": {
      const wanted = info.expected === 1 ? "1 argument" : `${info.expected} arguments`;
      return `the method takes ${wanted} but ${info.found} ${info.found === 1 ? "was" : "were"} given`;
    }
  }
}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  const column = (before.at(-1)?.length ?? 0) + 1;
  return before.length === 1 ? `at column ${column}` : `at line ${before.length}, column ${column}`;
}
