// Native kernels for this machine: its C compiler makes an addon of the sources of gyrotron/backend/wasm, once, and keeps it
// in the user's cache under a name that says what it was made of. What the kernels compute is theirs; that their
// bytes are right is checked by the backend.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { present } from "gyrotron/base";
import { createWasmBackend } from "gyrotron/backend/wasm";
import { type Backend, type GraphBackend, TensorError } from "gyrotron/tensor";
import { NodeError } from "../node-error.ts";

/** Sources of a checkout, and of an installed package, whose code is in `dist`. */
const SOURCE_FOLDERS = ["../../backend/wasm/native", "../../../src/backend/wasm/native"];
/** Exact arithmetic forbids all that lets a compiler round otherwise; the processor's own instructions are the point. */
const FLAGS: readonly string[] = [
  ...["-std=c11", "-O3", "-ffp-contract=off", "-fno-fast-math", "-fno-strict-aliasing"],
  ...["-shared", "-fPIC", "-Wno-psabi"],
  ...(process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : []),
];
/** What compilers call this machine's processor; the last is what all of its kind can do. */
const PROCESSORS: readonly (readonly string[])[] = [["-march=native"], ["-mcpu=native"], []];
/** Of a compiler's complaints. */
const COMPLAINT_MAX = 300;

/** How kernels are built. */
export interface BuildOptions {
  /** Where addons are kept; the user's cache if absent. */
  readonly folder?: string;
  /** Where the sources are; this package's own if absent. */
  readonly sources?: string;
  /** What the compiler is told of the processor; that it is this machine's if absent. */
  readonly processor?: readonly string[];
  /** Told when something is compiled, which takes some seconds. */
  readonly note: (text: string) => void;
}

/** A backend with this machine's native kernels, admitted by their bytes. @throws NodeError `node/native` */
export async function openNativeBackend(
  options: BuildOptions & { threads: number },
): Promise<Backend & GraphBackend> {
  const native = buildNativeKernels(options);
  try {
    return await createWasmBackend({ threads: options.threads, native });
  } catch (error) {
    if (error instanceof TensorError && error.info.code !== "tensor/native-differs") throw error;
    const reason =
      error instanceof TensorError
        ? `${native} does not give the bits of Wasm (${error.message})`
        : `${native} does not load: ${firstLine(String(error))}`;
    throw new NodeError({ code: "node/native", reason }, { cause: error });
  }
}

/** Path of the addon for this machine, compiled if it is not there yet. @throws NodeError `node/native` */
export function buildNativeKernels(options: BuildOptions): string {
  const compiler = findCompiler(options.processor);
  const sources = findSources(options.sources);
  const headers = dirname(createRequire(import.meta.url).resolve("node-api-headers"));
  const flags = [...FLAGS, ...compiler.processor, "-I", join(headers, "include")];
  const identity = createHash("sha256").update(JSON.stringify([FLAGS, compiler, process.arch]));
  for (const path of sources) identity.update(readFileSync(path)).update("\0");
  const manifest = readFileSync(join(headers, "package.json"), "utf8");
  identity.update((JSON.parse(manifest) as { version: string }).version);
  const folder = options.folder ?? cacheFolder();
  const prefix = `kernels-${identity.digest("hex").slice(0, 32)}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const known = findWhole(folder, prefix);
    if (known !== undefined) return known;
    options.note(`building native kernels with ${compiler.name} (once)`);
    // Several processes may build at once: each writes its own file and the rename is atomic.
    const draft = mkdtempSync(join(folder, "draft-"));
    try {
      const built = join(draft, "kernels.node");
      const code = sources.filter((path) => path.endsWith(".c"));
      compile(compiler, [...flags, ...code, "-o", built]);
      const target = join(folder, `${prefix}-${contentHash(built)}.node`);
      renameSync(built, target);
      return target;
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  } catch (error) {
    if (error instanceof NodeError) throw error;
    const reason = error instanceof Error ? firstLine(error.message) : String(error);
    throw failure(`the cache cannot be written (${reason}); $XDG_CACHE_HOME says where it is`);
  }
}

/** An addon of this name whose content is what its name says: one that was cut off would end the process. */
function findWhole(folder: string, prefix: string): string | undefined {
  const paths = readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(folder, name));
  return paths.find((path) => {
    const isWhole = path.endsWith(`-${contentHash(path)}.node`);
    if (!isWhole) rmSync(path, { force: true });
    return isWhole;
  });
}

function contentHash(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, 16);
}

/** A compiler and what it calls this machine's processor. */
interface Compiler {
  readonly command: string;
  /** What stands behind the command in $CC. */
  readonly args: readonly string[];
  /** For people: `gcc 12.2.0`. */
  readonly name: string;
  readonly processor: readonly string[];
  /** All that it defines for this processor, its own version included. */
  readonly macros: string;
}

/** $CC if it is set, else what systems call theirs. @throws NodeError `node/native` */
function findCompiler(asked: readonly string[] | undefined): Compiler {
  const named = (process.env["CC"] ?? "").trim();
  const commands = named === "" ? ["cc", "gcc", "clang"] : [named];
  for (const [command = "", ...args] of commands.map((text) => text.split(/\s+/))) {
    for (const processor of asked === undefined ? PROCESSORS : [asked]) {
      const found = spawnSync(command, [...args, ...processor, "-dM", "-E", "-x", "c", "-"], {
        input: "",
        encoding: "utf8",
      });
      if (found.error !== undefined) break;
      const macros = found.stdout;
      const version = /#define __VERSION__ "(.*)"/.exec(macros)?.[1];
      if (found.status !== 0 || version === undefined) continue;
      const name = macros.includes("__clang__") ? version : `gcc ${version}`;
      return { command, args, name, processor, macros };
    }
  }
  const tried = named === "" ? commands.join(", ") : `$CC is ${named}`;
  throw failure(`there is no C compiler (${tried})`);
}

/** @throws NodeError `node/native` */
function compile(compiler: Compiler, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(compiler.command, [...compiler.args, ...args], {
    encoding: "utf8",
  });
  if (status === 0) return;
  const complaint = /.*error.*/.exec(stderr ?? "")?.[0] ?? error?.message ?? "no reason given";
  throw failure(`${compiler.name} fails: ${complaint.slice(0, COMPLAINT_MAX)}`);
}

/** Paths of the C files, sorted. @throws NodeError `node/native` */
function findSources(asked: string | undefined): string[] {
  const places = SOURCE_FOLDERS.map((place) => join(import.meta.dirname, place));
  for (const folder of asked === undefined ? places : [asked]) {
    if (!existsSync(folder)) continue;
    const names = readdirSync(folder).filter((name) => /\.[ch]$/.test(name));
    return names.toSorted().map((name) => join(folder, name));
  }
  throw failure("their sources are missing");
}

function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"] ?? "";
  return join(base === "" ? join(homedir(), ".cache") : base, "gyrotron", "native");
}

function failure(reason: string): NodeError {
  return new NodeError({ code: "node/native", reason });
}

function firstLine(text: string): string {
  return present(text.split("\n", 1)[0]);
}
