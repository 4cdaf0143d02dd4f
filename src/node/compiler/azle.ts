// From a TypeScript program to a module by npm `azle` of the program's own project: azle bundles the
// program and puts it into its prebuilt template. Owns the call of azle's command line, not azle.
// Azle expects the settings of another tool in a file, so one is written into the project's `.azle`
// folder, which azle uses for its results anyway and which is the same at each build: azle writes the
// path of that folder into the module, and a changing path would change the module's hash.

import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import { utf8Bytes } from "gyrotron/base";
import { CompilerError } from "./compiler-error.ts";
import { findPackage } from "./find-package.ts";
import { withMetadata } from "./metadata-section.ts";

/** What azle made of a program. */
export interface AzleModule {
  readonly wasm: Uint8Array;
  readonly candid: string;
}

/** The version that is tested; others are tried as they are. */
const AZLE_VERSION = "0.33.0";
const BUILD_MS_MAX = 300_000;
const OUTPUT_BYTES_MAX = 1 << 20;
/** Name of the canister in azle's settings; it is part of no name that anybody sees. */
const NAME = "main";

/** Builds the program whose main file is `path`; `shown` is its name in messages. @throws CompilerError */
export async function compileWithAzle(path: string, shown: string): Promise<AzleModule> {
  const azle = findPackage(path, "azle");
  const tsx = azle === undefined ? undefined : findPackage(join(azle.folder, "index"), "tsx");
  if (azle === undefined || tsx === undefined) {
    const install = `npm install --ignore-scripts azle@${AZLE_VERSION}`;
    throw new CompilerError({ code: "compiler/not-installed", file: shown, what: "Azle", install });
  }
  readSource(path, shown);
  const root = join(azle.project, ".azle", "gyrotron");
  const candidPath = join(root, `${NAME}.did`);
  const settings = { canisters: { [NAME]: { type: "azle", main: relative(root, path) } } };
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "dfx.json"), JSON.stringify(settings));
  const program = [join(tsx.folder, "dist/cli.mjs"), join(azle.folder, "src/build.ts")];
  await runAzle([...program, "build", NAME], {
    cwd: azle.project,
    env: { ...process.env, AZLE_DFX_ROOT: root, CANISTER_CANDID_PATH: candidPath },
    shown,
  });
  const candid = readFileSync(candidPath, "utf8");
  const wasm = readFileSync(join(root, ".azle", NAME, `${NAME}.wasm`));
  return { wasm: withMetadata(wasm, "icp:public candid:service", utf8Bytes(candid)), candid };
}

function readSource(path: string, shown: string): void {
  try {
    readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CompilerError(
      { code: "compiler/file-unreadable", file: shown, reason },
      { cause: error },
    );
  }
}

function runAzle(
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; shown: string },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { cwd, env } = options;
  const limits = { timeout: BUILD_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX };
  execFile(process.execPath, args, { cwd, env, ...limits }, (error, stdout, stderr) => {
    if (error === null) {
      resolve();
      return;
    }
    const message = firstWords(`${stderr}\n${stdout}`) || error.message.split("\n", 1)[0]!;
    const info = { code: "compiler/refused", file: options.shown, what: "Azle", message } as const;
    reject(new CompilerError(info, { cause: error }));
  });
  return promise;
}

/** Azle's message without the prefix and without the places in its own code. */
function firstWords(output: string): string {
  const lines = output.replace(/Azle BuildError: (\w*Error: )?/, "").split("\n");
  return lines
    .filter((line) => line.trim() !== "" && !/^\s+at /.test(line))
    .slice(0, 20)
    .join("\n");
}
