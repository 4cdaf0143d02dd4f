// The child process that holds the Motoko compiler (its heap takes some 350 MB and never shrinks)
// for one program, answers once and ends.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import type { MotokoAnswer, MotokoJob, MotokoMessage } from "./motoko-protocol.ts";
import {
  findMopsPackages,
  listMotokoFiles,
  listSources,
  readSourceTree,
  type SourceTree,
  virtualPath,
} from "./motoko-sources.ts";

/** What the npm package `motoko` offers, as far as it is used here. */
interface Motoko {
  write(path: string, text: string): void;
  usePackage(name: string, folder: string): void;
  loadPackage(bundle: unknown): void;
  setPublicMetadata(names: string[]): void;
  setExtraFlags(flags: readonly string[]): void;
  parseMotoko(text: string): AstNode;
  readonly compiler: { compileWasm(mode: "ic", path: string): Compiled };
}

interface AstNode {
  readonly name?: string;
  readonly args?: readonly (AstNode | string | null)[];
}

interface Compiled {
  readonly code: { wasm: Uint8Array; candid: string; stable?: string | null } | null;
  readonly diagnostics: readonly RawDiagnostic[];
}

interface RawDiagnostic {
  readonly source: string;
  readonly severity: number;
  readonly range: { readonly start: { readonly line: number; readonly character: number } };
  readonly code: string;
  readonly message: string;
}

/** Sections that clients read without being controllers: the interface, not the state's layout. */
const PUBLIC_SECTIONS = ["candid:service", "candid:args"];
const BUNDLED_PACKAGE = "core";

const load = createRequire(import.meta.url);

process.once("message", (job: MotokoJob) => {
  const answer = compile(job);
  // The channel is there: the parent has just sent a message over it.
  process.send?.(answer, () => process.channel?.unref());
});

function compile({ main, flags, text }: MotokoJob): MotokoAnswer {
  const motoko = load("motoko") as Motoko;
  let tree: SourceTree;
  try {
    tree = readSourceTree(main, (text) => parseImports(motoko, text));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: "unreadable", path: main, reason };
  }
  for (const [path, found] of tree.texts) {
    motoko.write(virtualPath(tree, path), path === main && text !== undefined ? text : found);
  }
  providePackages(motoko, tree);
  motoko.setPublicMetadata(PUBLIC_SECTIONS);
  if (flags.length > 0) motoko.setExtraFlags(flags);
  const { code, diagnostics } = motoko.compiler.compileWasm("ic", virtualPath(tree, main));
  const messages = diagnostics.map((diagnostic) => toMessage(tree, diagnostic));
  if (code === null) return { kind: "rejected", messages };
  return {
    kind: "compiled",
    wasm: code.wasm,
    candid: code.candid,
    stableTypes: code.stable ?? undefined,
    messages,
    sources: listSources(tree),
  };
}

function parseImports(motoko: Motoko, text: string): string[] {
  const imports: string[] = [];
  const visit = (node: AstNode | string | null): void => {
    if (node === null || typeof node !== "object") return;
    const first = node.args?.[0];
    if (node.name === "ImportE" && typeof first === "string") imports.push(first);
    for (const child of node.args ?? []) visit(child);
  };
  try {
    visit(motoko.parseMotoko(text));
  } catch {
    return []; // a mistake in the text, which the compiler itself reports with its place
  }
  return imports;
}

function providePackages(motoko: Motoko, tree: SourceTree): void {
  if (tree.packages.size === 0) return;
  const installed = findMopsPackages(tree.main);
  for (const [name, folder] of installed) {
    for (const file of listMotokoFiles(folder)) {
      motoko.write(`.packages/${name}/${file}`, readFileSync(join(folder, file), "utf8"));
    }
    motoko.usePackage(name, `.packages/${name}`);
  }
  if (!installed.has(BUNDLED_PACKAGE)) {
    motoko.loadPackage(load(`motoko/packages/latest/${BUNDLED_PACKAGE}.json`));
  }
}

function toMessage(tree: SourceTree, diagnostic: RawDiagnostic): MotokoMessage {
  const { line, character } = diagnostic.range.start;
  return {
    path: join(tree.root, diagnostic.source),
    severity: diagnostic.severity === 1 ? "error" : diagnostic.severity === 2 ? "warning" : "note",
    line: line + 1,
    column: character + 1,
    code: diagnostic.code,
    message: diagnostic.message + hintFor(diagnostic),
  };
}

function hintFor(diagnostic: RawDiagnostic): string {
  const missing = /^package "(.+)" not defined$/.exec(diagnostic.message)?.[1];
  if (missing === undefined) return "";
  const successor = missing === "base" ? "; its successor mo:core is built in" : "";
  return ` (install it with \`mops install\`${successor})`;
}
