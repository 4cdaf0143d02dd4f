// Files of models as commands read and write them: what the system says of a file is told in one line, with its name.

import type { LanguageModel } from "gyrotron/accelerator";
import { DecodeError } from "gyrotron/base";
import { loadModel, NodeError } from "gyrotron/node/models";
import type { Precision } from "gyrotron/tensor";
import { CliError } from "./cli-error.ts";

/** What is chosen of a model when its file is prepared. */
export interface ModelChoice {
  readonly precision?: Precision | undefined;
  /** Positions of prompt and answer together. */
  readonly context?: number | undefined;
}

/** As `loadModel`. @throws also CliError `cli/file` */
export function readModel(path: string, { precision, context }: ModelChoice): LanguageModel {
  return onFiles(path, () => loadModel(path, precision, context));
}

/** Runs what reads or writes the files of a model. @throws as `fileFailure` says, and what `body` throws */
export function onFiles<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw fileFailure(path, error);
  }
}

/**
 * CliError `cli/file` for what the system refuses, NodeError `node/model` for damage that names no file yet; any
 * other error as it is.
 */
export function fileFailure(path: string, error: unknown): unknown {
  if (error instanceof DecodeError) {
    const reason = `${error.info.what} (at byte ${error.info.offset})`;
    return new NodeError({ code: "node/model", path, reason }, { cause: error });
  }
  if (!isSystemError(error)) return error;
  const file = error.path ?? path;
  return new CliError({ code: "cli/file", file, problem: error.message }, { cause: error });
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "errno" in error && "syscall" in error;
}
