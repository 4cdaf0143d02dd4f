// From a file to a module that can be installed: programs are compiled in a child process that ends
// with the job, modules are read as they are. Owns neither a cache nor the installation.

import { type ChildProcess, fork } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { extname, join, relative, resolve } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";
import { MODULE_BYTES_MAX, utf8TextLossy } from "gyrotron/base";
import { compileAssemblyScript } from "./assemblyscript.ts";
import { compileWithAzle } from "./azle.ts";
import { CompilerError, type Diagnostic } from "./compiler-error.ts";
import type { MotokoAnswer, MotokoJob, MotokoMessage, SourceFile } from "./motoko-protocol.ts";

/** A module ready to be uploaded, and what is known of it without running it. */
export interface CompiledModule {
  /** Bytes to upload: for a `.wasm.gz` file still compressed. */
  readonly wasm: Uint8Array;
  /** The Candid interface; undefined if the module carries none. */
  readonly candid: string | undefined;
  /** Motoko's signature of the stable variables. */
  readonly stableTypes: string | undefined;
  /** Whether its heap survives upgrades (Motoko's enhanced orthogonal persistence). */
  readonly keepsHeap: boolean;
  readonly warnings: readonly Diagnostic[];
  /** Files that went into it; empty for a ready-made module. */
  readonly sources: readonly SourceFile[];
}

const GZIP_MAGIC = 0x8b1f;
const WASM_MAGIC = 0x6d736100;
/** More than any program needs; ends a child that hangs. */
const COMPILE_MS_MAX = 300_000;
/** The compiler recurses deeply over long programs. In KiB, below the usual 8 MiB of a main thread. */
const CHILD_STACK_KIB = 4_000;

/** What a compiler is told besides the file. */
export interface CompileOptions {
  /** Flags of the Motoko compiler, such as `--legacy-actors`. */
  readonly motokoFlags?: readonly string[];
  /** Text of the main Motoko file instead of what is on the disk. */
  readonly motokoText?: string;
}

/**
 * Compiles or reads `file` by its ending: `.mo`, `.as.ts` (AssemblyScript; or a folder with an
 * asconfig.json), `.ts` (Azle), `.wasm` or `.wasm.gz`. @throws CompilerError
 */
export async function compileFile(
  file: string,
  options: CompileOptions = {},
): Promise<CompiledModule> {
  const path = resolve(file);
  if (extname(path) === ".mo") return compileMotoko(path, options);
  if (/\.wasm(\.gz)?$/.test(path)) return readModule(path);
  if (path.endsWith(".as.ts") || existsSync(join(path, "asconfig.json"))) {
    return ofProject(await compileAssemblyScript(path, displayPath(path)));
  }
  if (extname(path) === ".ts") return ofProject(await compileWithAzle(path, displayPath(path)));
  throw new CompilerError({ code: "compiler/unknown-kind", file: displayPath(path) });
}

/** What a compiler of the user's own project gave; its heap does not survive upgrades. */
function ofProject(built: { wasm: Uint8Array; candid: string | undefined }): CompiledModule {
  return { ...built, stableTypes: undefined, keepsHeap: false, warnings: [], sources: [] };
}

/** Text of a custom section `icp:public NAME` or `icp:private NAME`, from an uncompressed module. */
export function readMetadata(wasm: Uint8Array, name: string): string | undefined {
  const module = new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>);
  for (const visibility of ["public", "private"]) {
    const [section] = WebAssembly.Module.customSections(module, `icp:${visibility} ${name}`);
    if (section !== undefined) return utf8TextLossy(new Uint8Array(section));
  }
  return undefined;
}

async function compileMotoko(path: string, options: CompileOptions): Promise<CompiledModule> {
  const { motokoFlags: flags = [], motokoText: text } = options;
  const answer = await askChild({ main: path, flags, text });
  switch (answer.kind) {
    case "unreadable":
      throw new CompilerError({
        code: "compiler/file-unreadable",
        file: displayPath(answer.path),
        reason: answer.reason,
      });
    case "rejected":
      throw new CompilerError({
        code: "compiler/rejected",
        file: displayPath(path),
        diagnostics: answer.messages.map(toDiagnostic),
      });
    case "compiled":
      return {
        wasm: answer.wasm,
        candid: answer.candid,
        stableTypes: answer.stableTypes,
        keepsHeap: readMetadata(answer.wasm, "enhanced-orthogonal-persistence") !== undefined,
        warnings: answer.messages.map(toDiagnostic),
        sources: answer.sources,
      };
  }
}

function askChild(job: MotokoJob): Promise<MotokoAnswer> {
  const { promise, resolve: answered, reject } = Promise.withResolvers<MotokoAnswer>();
  const child = startChild();
  const errors: Buffer[] = [];
  child.stderr?.on("data", (chunk: Buffer) => errors.push(chunk));
  const timer = setTimeout(() => child.kill("SIGKILL"), COMPILE_MS_MAX);
  const crashed = (reason: string): void => {
    clearTimeout(timer);
    reject(new CompilerError({ code: "compiler/crashed", file: displayPath(job.main), reason }));
  };
  child.once("message", (answer) => {
    clearTimeout(timer);
    answered(answer as MotokoAnswer);
  });
  child.once("error", (error) => crashed(error.message));
  child.once("close", (status, signal) => {
    // Minified code may be part of a stack: keep only the line that names the error.
    const lines = Buffer.concat(errors).toString("utf8").split("\n");
    const named = lines.find((line) => /^\S*Error\b/.test(line));
    crashed(named?.slice(0, 200) ?? `it ended with ${signal ?? `status ${status}`}`);
  });
  child.send(job);
  return promise;
}

function startChild(): ChildProcess {
  const program = join(import.meta.dirname, `motoko-child${extname(import.meta.filename)}`);
  return fork(program, [], {
    execArgv: [`--stack-size=${CHILD_STACK_KIB}`],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
}

function readModule(path: string): CompiledModule {
  const file = displayPath(path);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CompilerError({ code: "compiler/file-unreadable", file, reason }, { cause: error });
  }
  const module = isGzip(bytes) ? unpack(file, bytes) : bytes;
  if (
    module.length < 8 ||
    new DataView(module.buffer, module.byteOffset).getUint32(0, true) !== WASM_MAGIC
  ) {
    throw new CompilerError({
      code: "compiler/not-wasm",
      file,
      reason: "it does not begin with \\0asm",
    });
  }
  return { wasm: bytes, ...describeModule(module), warnings: [], sources: [] };
}

/** What the custom sections say; a module that does not compile is left for the node to refuse. */
function describeModule(
  module: Uint8Array,
): Pick<CompiledModule, "candid" | "stableTypes" | "keepsHeap"> {
  try {
    return {
      candid: readMetadata(module, "candid:service"),
      stableTypes: readMetadata(module, "motoko:stable-types"),
      keepsHeap: readMetadata(module, "enhanced-orthogonal-persistence") !== undefined,
    };
  } catch {
    return { candid: undefined, stableTypes: undefined, keepsHeap: false };
  }
}

function isGzip(bytes: Uint8Array): boolean {
  return (
    bytes.length > 2 &&
    new DataView(bytes.buffer, bytes.byteOffset).getUint16(0, true) === GZIP_MAGIC
  );
}

function unpack(file: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MODULE_BYTES_MAX });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CompilerError(
      { code: "compiler/not-wasm", file, reason: `gzip: ${reason}` },
      { cause: error },
    );
  }
}

function toDiagnostic(message: MotokoMessage): Diagnostic {
  const { path, ...rest } = message;
  return { file: displayPath(path), ...rest };
}

function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
}
