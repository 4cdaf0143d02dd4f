// What can go wrong on the command line, each with the one line that a person reads.

import { GyrotronError } from "gyrotron/base";

export type CliErrorInfo =
  | { code: "cli/unknown-command"; command: string; suggestion: string | undefined }
  | { code: "cli/usage"; problem: string; usage: string }
  | { code: "cli/node-not-running"; url: string }
  | { code: "cli/unknown-canister"; name: string; known: readonly string[] }
  | { code: "cli/unknown-method"; canister: string; method: string; known: readonly string[] }
  /** A Candid argument that does not parse or fit. */
  | { code: "cli/argument"; what: string; problem: string }
  | { code: "cli/rejected"; action: string; rejectCode: number; errorCode: string; message: string }
  | { code: "cli/node-refused"; status: number; message: string }
  | { code: "cli/identity"; file: string; problem: string }
  | { code: "cli/file"; file: string; problem: string }
  | { code: "cli/unknown-model"; name: string; known: readonly string[] }
  /** A run that ended without a text. */
  | { code: "cli/job-failed"; reason: string; detail: string }
  /** No WebGPU device, and what to do about it. */
  | { code: "cli/no-webgpu"; problem: string }
  /** A flag about what a network was given at its beginning, and what that was. */
  | { code: "cli/other-network"; flag: string; is: string }
  /** The example that a command talks to is not there. */
  | { code: "cli/not-deployed"; name: string; url: string; file: string };

/** A failure that a person can act on. */
export class CliError extends GyrotronError<CliErrorInfo> {}

/** The failure in one line, without a stack. */
export function explainCliError(info: CliErrorInfo): string {
  switch (info.code) {
    case "cli/unknown-command": {
      const hint =
        info.suggestion === undefined
          ? "see `gyrotron help`"
          : `did you mean \`${info.suggestion}\`?`;
      return `unknown command \`${info.command}\`: ${hint}`;
    }
    case "cli/usage":
      return `${info.problem}: use \`gyrotron ${info.usage}\``;
    case "cli/node-not-running":
      return `no node answers at ${info.url}: start one with \`gyrotron start\` or name another with --host and --port`;
    case "cli/unknown-canister": {
      const known =
        info.known.length === 0
          ? "nothing has been deployed here"
          : `known are ${info.known.join(", ")}`;
      return `no canister is called \`${info.name}\`: ${known}`;
    }
    case "cli/unknown-method": {
      const known = info.known.length === 0 ? "it has none" : `it has ${info.known.join(", ")}`;
      return `canister ${info.canister} has no method \`${info.method}\`: ${known}`;
    }
    case "cli/argument":
      return `wrong argument for ${info.what}: ${info.problem}`;
    case "cli/rejected": {
      const code =
        info.errorCode === ""
          ? `code ${info.rejectCode}`
          : `code ${info.rejectCode}, ${info.errorCode}`;
      return `${info.action} was rejected (${code}): ${firstLine(info.message)}`;
    }
    case "cli/node-refused":
      return `the node refused the request (HTTP ${info.status}): ${info.message}`;
    case "cli/identity":
      return `cannot use the identity in ${info.file}: ${info.problem}`;
    case "cli/file":
      return `${info.file}: ${info.problem}`;
    case "cli/unknown-model":
      return `there is no model \`${info.name}\`: name ${[
        "a .gguf file, a folder, a llama2.c .bin file",
        ...(info.known.length === 0 ? [] : [`one of ${info.known.join(", ")}`]),
      ].join(", or ")}`;
    case "cli/job-failed":
      return info.reason === "promptTooLong"
        ? `the prompt is too long: ${info.detail}`
        : `the model did not finish (${info.reason}): ${info.detail}`;
    case "cli/no-webgpu":
      return `no WebGPU: ${info.problem}`;
    case "cli/other-network":
      return `the network in this folder has begun otherwise, and that is fixed: --${info.flag} is ${info.is}; name another folder with --data for a new one`;
    case "cli/not-deployed":
      return `no canister ${info.name} is on the node at ${info.url}, by the names in the data folder: deploy it with \`gyrotron deploy ${info.file}\`, or name another one with --canister, or the folder with --data`;
  }
}

/** Rejects carry general advice in further lines. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
