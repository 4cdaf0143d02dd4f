// Finds every file that a Motoko program imports, on the disk, before the compiler runs: the
// compiler sees only what it is given. Packages come from the compiler's own bundle (core) and from
// the `.mops` folders above the program. Runs in the compiler's child process.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { SourceFile } from "./motoko-protocol.ts";

/** The compiler's parser: the imports (`./x`, `mo:core/Text`) of a program text; [] if it has mistakes. */
export type ImportParser = (text: string) => readonly string[];

/** Everything one program consists of. */
export interface SourceTree {
  /** Folder that contains all files; names in the module are relative to it. */
  readonly root: string;
  readonly main: string;
  /** Texts by absolute path. */
  readonly texts: ReadonlyMap<string, string>;
  /** Packages that the program or its packages name, other than Motoko's own primitives. */
  readonly packages: ReadonlySet<string>;
}

/** Reads the program at `main` and whatever it imports by a relative path. @throws if `main` is unreadable */
export function readSourceTree(main: string, parseImports: ImportParser): SourceTree {
  const texts = new Map<string, string>();
  const packages = new Set<string>();
  const pending = [main];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (texts.has(path)) continue;
    const text = readFileSync(path, "utf8");
    texts.set(path, text);
    for (const name of parseImports(text)) {
      const wanted = /^mo:([^/]+)/.exec(name)?.[1];
      if (wanted !== undefined) packages.add(wanted);
      else if (!/^[a-z]+:/.test(name)) {
        const found = findImport(dirname(path), name);
        if (found !== undefined) pending.push(found); // the compiler reports the missing ones
      }
    }
  }
  return { root: commonFolder([...texts.keys()]), main, texts, packages };
}

/** Name of a file inside the compiler: relative to the tree's root, with `/`. */
export function virtualPath(tree: SourceTree, path: string): string {
  return relative(tree.root, path).split(sep).join("/");
}

/** Files of the program with their hashes, sorted by path. */
export function listSources(tree: SourceTree): SourceFile[] {
  return [...tree.texts.keys()].toSorted().map((path) => ({
    path,
    sha256: createHash("sha256").update(readFileSync(path)).digest("hex"),
  }));
}

/** Folders of the packages that `mops install` put beside the program: name to source folder. */
export function findMopsPackages(main: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const folder of ancestors(dirname(main))) {
    const mops = join(folder, ".mops");
    if (!existsSync(mops)) continue;
    for (const entry of readdirSync(mops).toSorted()) {
      const name = /^(.+)@[^@]+$/.exec(entry)?.[1];
      const source = join(mops, entry, "src");
      if (name !== undefined && existsSync(source)) found.set(name, source);
    }
    return found;
  }
  return found;
}

/** Every `.mo` file below `folder`, as paths relative to it. */
export function listMotokoFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".mo"))
    .map((name) => name.split(sep).join("/"))
    .toSorted();
}

function findImport(folder: string, name: string): string | undefined {
  const path = resolve(folder, name);
  const candidates = basename(path).endsWith(".mo") ? [path] : [`${path}.mo`, join(path, "lib.mo")];
  return candidates.find((candidate) => existsSync(candidate));
}

function commonFolder(paths: readonly string[]): string {
  let common = dirname(paths[0] ?? "/");
  const contains = (path: string): boolean =>
    `${path}${sep}`.startsWith(common === sep ? sep : `${common}${sep}`);
  while (!paths.every(contains) && common !== dirname(common)) common = dirname(common);
  return common;
}

function* ancestors(folder: string): Iterable<string> {
  for (let at = folder; ; at = dirname(at)) {
    yield at;
    if (at === dirname(at)) return;
  }
}
