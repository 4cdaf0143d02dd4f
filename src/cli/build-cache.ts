// Compiled Motoko programs by main file, so that nothing is compiled twice: valid while the compiler
// and every source file are the same. Lives in the data folder; deleting it costs only time.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { utf8Bytes } from "gyrotron/base";
import type { CompiledModule } from "gyrotron/node";

/** What is kept beside the module. */
interface CacheEntry {
  readonly compiler: string;
  readonly wasmSha256: string;
  readonly module: Omit<CompiledModule, "wasm">;
}

/** A module ready to install, and whether it had to be compiled. */
export interface Build {
  readonly module: CompiledModule;
  readonly isFresh: boolean;
}

/** Compiles `file` unless its last build still holds. @throws CompilerError */
export async function buildFile(file: string, dataFolder: string): Promise<Build> {
  const isProgram = extname(file) === ".mo";
  const stem = join(dataFolder, "build", sha256Hex(utf8Bytes(resolve(file))).slice(0, 16));
  const known = isProgram ? readBuild(stem) : undefined;
  if (known !== undefined) return { module: known, isFresh: false };
  const { compileFile } = await import("gyrotron/node");
  const module = await compileFile(file);
  if (isProgram) writeBuild(stem, dataFolder, module);
  return { module, isFresh: true };
}

function readBuild(stem: string): CompiledModule | undefined {
  try {
    const entry = JSON.parse(readFileSync(`${stem}.json`, "utf8")) as CacheEntry;
    const wasm = readFileSync(`${stem}.wasm`);
    const isWhole = sha256Hex(wasm) === entry.wasmSha256 && entry.compiler === compilerVersion();
    const isCurrent = entry.module.sources.every(
      ({ path, sha256 }) => sha256Hex(readFileSync(path)) === sha256,
    );
    return isWhole && isCurrent ? { ...entry.module, wasm } : undefined;
  } catch {
    return undefined; // absent, damaged, or a source is gone: compile
  }
}

function writeBuild(stem: string, dataFolder: string, module: CompiledModule): void {
  const { wasm, ...rest } = module;
  const entry: CacheEntry = {
    compiler: compilerVersion(),
    wasmSha256: sha256Hex(wasm),
    module: rest,
  };
  mkdirSync(join(dataFolder, "build"), { recursive: true });
  for (const [path, content] of [
    [`${stem}.wasm`, wasm],
    [`${stem}.json`, JSON.stringify(entry)],
  ] as const) {
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  }
}

function compilerVersion(): string {
  const manifest = new URL(import.meta.resolve("motoko/package.json"));
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
