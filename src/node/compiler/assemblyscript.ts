// From an AssemblyScript program to a module by npm `assemblyscript` of the program's own project, in a
// child process that ends with the job. Owns the call of the compiler and the interface file beside the
// program, not the kit that programs import (sdk/assemblyscript), whose transform names the methods.

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, relative } from "node:path";
import process from "node:process";
import { utf8Bytes } from "gyrotron/base";
import { CompilerError } from "./compiler-error.ts";
import { findPackage } from "./find-package.ts";
import { withMetadata } from "./metadata-section.ts";

/** What the compiler made of a program. */
export interface AssemblyScriptModule {
  readonly wasm: Uint8Array;
  /** Text of the `.did` file beside the program, if there is one. */
  readonly candid: string | undefined;
}

/** The version that is tested; others are tried as they are. */
const ASSEMBLYSCRIPT_VERSION = "0.28.20";
const COMPILE_MS_MAX = 300_000;
const OUTPUT_BYTES_MAX = 1 << 20;

/**
 * Compiles the `.as.ts` file or the folder with an asconfig.json at `path`; `shown` is its name in
 * messages. @throws CompilerError
 */
export async function compileAssemblyScript(
  path: string,
  shown: string,
): Promise<AssemblyScriptModule> {
  const isFolder = !path.endsWith(".as.ts");
  const manifest = isFolder ? join(path, "asconfig.json") : path;
  const compiler = findPackage(manifest, "assemblyscript");
  if (compiler === undefined) {
    const install = `npm install --save-dev assemblyscript@${ASSEMBLYSCRIPT_VERSION}`;
    const what = "AssemblyScript";
    throw new CompilerError({ code: "compiler/not-installed", file: shown, what, install });
  }
  const text = readText(manifest, shown);
  const entry = isFolder ? firstEntry(text, shown) : basename(path);
  const folder = dirname(manifest);
  const results = mkdtempSync(join(tmpdir(), "gyrotron-asc-"));
  try {
    const output = join(results, "module.wasm");
    // asc reads paths relative to its working folder.
    const flags = isFolder ? ["--config", "asconfig.json", "--target", "release"] : [entry, "-O3"];
    await runCompiler(compiler.folder, [...flags, "-o", relative(folder, output)], folder, shown);
    const wasm = readFileSync(output);
    const candid = readCandid(join(folder, entry));
    if (candid === undefined) return { wasm, candid };
    return { wasm: withMetadata(wasm, "icp:public candid:service", utf8Bytes(candid)), candid };
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
}

function readText(path: string, shown: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CompilerError(
      { code: "compiler/file-unreadable", file: shown, reason },
      { cause: error },
    );
  }
}

/** The program that an asconfig.json names first. */
function firstEntry(manifest: string, shown: string): string {
  try {
    const { entries } = JSON.parse(manifest) as { entries?: unknown };
    if (Array.isArray(entries) && typeof entries[0] === "string") return entries[0];
  } catch {
    // No JSON: said below.
  }
  const message = 'asconfig.json must name the program, as in { "entries": ["index.as.ts"] }';
  throw refused(shown, message);
}

/** `main.did` for `main.as.ts` or `main.ts`. */
function readCandid(program: string): string | undefined {
  const stem = join(dirname(program), basename(program).replace(/(\.as)?\.ts$/, ""));
  return existsSync(`${stem}.did`) ? readFileSync(`${stem}.did`, "utf8") : undefined;
}

function runCompiler(
  compiler: string,
  args: readonly string[],
  cwd: string,
  shown: string,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const program = join(import.meta.dirname, `assemblyscript-child${extname(import.meta.filename)}`);
  const command = [program, join(compiler, "dist/asc.js"), ...args];
  const limits = { timeout: COMPILE_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX };
  execFile(process.execPath, command, { cwd, ...limits }, (error, _stdout, stderr) => {
    if (error === null) resolve();
    else reject(refused(shown, stderr.trim() || error.message.split("\n", 1)[0]!));
  });
  return promise;
}

function refused(file: string, message: string): CompilerError {
  return new CompilerError({
    code: "compiler/refused",
    file,
    what: "AssemblyScript",
    message,
  });
}
