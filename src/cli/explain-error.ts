// Turns any failure into the one line that a person reads. Bugs keep their stack: they are ours to
// find, not the user's.

import {
  AgentError,
  CertifiedRejectErrorCode,
  HttpErrorCode,
  HttpFetchErrorCode,
  UncertifiedRejectErrorCode,
  UncertifiedRejectUpdateErrorCode,
} from "@icp-sdk/core/agent";
import { GyrotronError } from "gyrotron/base";
import type { CompilerErrorInfo, HttpServerErrorInfo, NodeErrorInfo } from "gyrotron/node";
import { StoreError, type StoreErrorInfo } from "gyrotron/store";
import { CliError, explainCliError } from "./cli-error.ts";
import { formatDiagnostic } from "./diagnostics.ts";
import { printable } from "./output.ts";

/** The failure as text: one line, except for mistakes in a program and for bugs. */
export function explainError(error: unknown): string {
  if (error instanceof CliError) return printable(explainCliError(error.info));
  if (error instanceof AgentError) return printable(explainAgentError(error));
  if (error instanceof StoreError) return printable(explainStoreError(error.info));
  if (error instanceof GyrotronError) return printable(explainOther(error));
  return `this is a bug in gyrotron: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

function explainAgentError(error: AgentError): string {
  const { code } = error;
  if (
    code instanceof CertifiedRejectErrorCode ||
    code instanceof UncertifiedRejectErrorCode ||
    code instanceof UncertifiedRejectUpdateErrorCode
  ) {
    return explainCliError({
      code: "cli/rejected",
      action: "the call",
      rejectCode: code.rejectCode,
      errorCode: code.rejectErrorCode ?? "",
      message: code.rejectMessage,
    });
  }
  if (code instanceof HttpErrorCode) {
    return explainCliError({
      code: "cli/node-refused",
      status: code.status,
      message: code.bodyText ?? code.statusText,
    });
  }
  if (code instanceof HttpFetchErrorCode)
    return `the node does not answer: ${innermostMessage(code.error)}`;
  return `the node's answer was not accepted: ${error.message.split("\n")[0]}`;
}

function explainStoreError(info: StoreErrorInfo): string {
  switch (info.code) {
    case "store/other-version":
      return `${info.path} was written by another version (${info.found}, this one reads ${info.expected}): use another folder with --data, or the version that wrote it`;
    case "store/damaged":
      return `${info.path} is damaged: ${info.what}; restore a backup, or move the folder away to start anew`;
    case "store/in-use":
      return `the data folder ${info.path} is in use by ${info.holder}: stop it, or use another folder with --data`;
    case "store/not-writable":
      return `cannot write to ${info.path}: ${info.what}`;
    case "store/disk-full":
      return `the disk that holds ${info.path} is full`;
    case "store/failed":
      return `${info.path}: ${info.what}`;
  }
}

/** Errors of areas that the command line loads only where it needs them, by their public codes. */
function explainOther(error: GyrotronError<{ code: string }>): string {
  const info = error.info as CompilerErrorInfo | HttpServerErrorInfo | NodeErrorInfo;
  switch (info.code) {
    case "compiler/file-unreadable":
      return `cannot read ${info.file}: ${info.reason}`;
    case "compiler/unknown-kind":
      return `${info.file} is no Motoko (.mo), TypeScript (.ts) or AssemblyScript program (.as.ts, or a folder with asconfig.json) and no module (.wasm, .wasm.gz)`;
    case "compiler/not-wasm":
      return `${info.file} is not a Wasm module: ${info.reason}`;
    case "compiler/rejected":
      return info.diagnostics.map(formatDiagnostic).join("\n");
    case "compiler/refused":
      return `${info.what} did not accept ${info.file}: ${info.message}`;
    case "compiler/not-installed":
      return `${info.file} needs ${info.what}, which is not in its project: run \`${info.install}\` there`;
    case "compiler/crashed":
      return `the Motoko compiler failed on ${info.file}: ${info.reason}`;
    case "http/port-in-use":
      return `port ${info.port} on ${info.host} is in use: another node may be running; choose another with --port`;
    case "http/cannot-listen":
      return `cannot listen on ${info.host} port ${info.port}: ${info.reason}`;
    case "node/keys":
      return `${info.path}: ${info.reason}`;
    case "node/model":
      return `cannot use the model ${info.path}: ${info.reason}`;
    case "node/native":
      return `no native kernels: ${info.reason}; --backend wasm gives the same bits`;
    case "node/host-failure":
      return `the node stopped itself: ${info.what}`;
    case "node/stopped":
      return "the node has been stopped";
    default:
      return error.message;
  }
}

function innermostMessage(error: unknown): string {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return at instanceof Error ? at.message : String(at);
}
