// The files that the tidy tests look at, and views of their text: without comments, without strings.
// It reads files and knows TypeScript's tokens just well enough for that; it judges nothing.

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { deepEqual } from "node:assert/strict";

/** The root of the repository. */
export const ROOT: string = resolve(import.meta.dirname, "../..");

/** One text file of the repository. */
export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** What a rule found; `line` counts from 1. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly what: string;
}

/** Fails with one readable line for each finding. @throws AssertionError if there are any */
export function assertNone(findings: readonly Finding[]): void {
  deepEqual(
    findings.map(({ path, line, what }) => `${path}:${line} ${what}`),
    [],
  );
}

const SKIPPED_FOLDERS: ReadonlySet<string> = new Set([
  ".git",
  ".gyrotron",
  "build",
  "dist",
  "node_modules",
]);

const TEXT_NAME = /\.(ts|js|mjs|json|md|mo|did|as|yml|yaml|toml|wat|sh|txt)$/;
const EXTENSIONLESS_TEXT: ReadonlySet<string> = new Set(["run", "LICENSE", "NOTICE"]);

/** Every text file of the repository that is ours, in order of its path. */
export function readRepository(): SourceFile[] {
  return readFolder("");
}

/** TypeScript under src/, tests included, declarations and AssemblyScript kernels left out. */
export function isSource(file: SourceFile): boolean {
  return file.path.startsWith("src/") && isTypeScript(file);
}

/** TypeScript of any folder, AssemblyScript left out. */
export function isTypeScript(file: SourceFile): boolean {
  return file.path.endsWith(".ts") && !file.path.endsWith(".as.ts");
}

/** Whether the file is a test, a fuzz target or a benchmark. */
export function isTest(file: SourceFile): boolean {
  return /\.(test|fuzz|bench)\.ts$/.test(file.path) || !file.path.startsWith("src/");
}

/** The area of a file under src/, or undefined. */
export function areaOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/** Findings for each match of `pattern` in `view`, a view of the file's text with equal offsets. */
export function findMatches(
  file: SourceFile,
  view: string,
  pattern: RegExp,
  what: string,
): Finding[] {
  return [...view.matchAll(pattern)].map((match) => ({
    path: file.path,
    line: lineAt(view, match.index),
    what: `${what}: ${match[0].trim()}`,
  }));
}

/** The line of an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** The text with comments blanked; offsets and lines stay. */
export function withoutComments(text: string): string {
  return blank(text, new Set(["comment"]));
}

/** The text with comments, strings, template text and regular expressions blanked. */
export function codeOnly(text: string): string {
  return blank(text, new Set(["comment", "string"]));
}

type SpanKind = "comment" | "string";

function blank(text: string, kinds: ReadonlySet<SpanKind>): string {
  let result = "";
  let end = 0;
  for (const span of spans(text)) {
    if (!kinds.has(span.kind)) continue;
    result +=
      text.slice(end, span.start) + text.slice(span.start, span.end).replaceAll(/[^\n]/g, " ");
    end = span.end;
  }
  return result + text.slice(end);
}

interface Span {
  readonly kind: SpanKind;
  readonly start: number;
  readonly end: number;
}

const REGEX_MAY_FOLLOW = /(^|[(,=:[!&|?{};+\-*%<>~^]|\b(return|typeof|case|in|of|void|throw))\s*$/;

function spans(text: string): Span[] {
  const found: Span[] = [];
  const templateDepths: number[] = []; // brace depth at which each open `${` returns to its template
  let depth = 0;
  let at = 0;
  const add = (kind: SpanKind, end: number): void => {
    found.push({ kind, start: at, end });
    at = end;
  };
  const addTemplateText = (from: number): void => {
    let end = from;
    while (end < text.length) {
      if (text[end] === "\\") end += 2;
      else if (text[end] === "`") return add("string", end + 1);
      else if (text.startsWith("${", end)) {
        templateDepths.push(depth++);
        return add("string", end + 2);
      } else end++;
    }
    add("string", text.length);
  };
  while (at < text.length) {
    const char = text[at]!;
    if (text.startsWith("//", at)) add("comment", indexOrEnd(text, "\n", at));
    else if (text.startsWith("/*", at)) add("comment", indexOrEnd(text, "*/", at + 2) + 2);
    else if (char === '"' || char === "'") add("string", endOfQuoted(text, at, char));
    else if (char === "`") addTemplateText(at + 1);
    else if (char === "/" && REGEX_MAY_FOLLOW.test(text.slice(Math.max(0, at - 40), at))) {
      add("string", endOfRegex(text, at));
    } else if (char === "}" && templateDepths.at(-1) === depth - 1) {
      templateDepths.pop();
      depth--;
      addTemplateText(at + 1);
    } else {
      if (char === "{") depth++;
      if (char === "}") depth--;
      at++;
    }
  }
  return found;
}

function indexOrEnd(text: string, wanted: string, from: number): number {
  const index = text.indexOf(wanted, from);
  return index < 0 ? text.length : index;
}

function endOfQuoted(text: string, start: number, quote: string): number {
  let end = start + 1;
  while (end < text.length && text[end] !== quote && text[end] !== "\n") {
    end += text[end] === "\\" ? 2 : 1;
  }
  return Math.min(end + 1, text.length);
}

function endOfRegex(text: string, start: number): number {
  let inClass = false;
  for (let end = start + 1; end < text.length && text[end] !== "\n"; end++) {
    const char = text[end];
    if (char === "\\") end++;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "/" && !inClass) return end + 1;
  }
  return start + 1; // no end on this line: a division after all
}

function readFolder(folder: string): SourceFile[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true });
  entries.sort((left, right) => (left.name < right.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : readFolder(path);
    const isText = TEXT_NAME.test(entry.name) || EXTENSIONLESS_TEXT.has(entry.name);
    if (!entry.isFile() || !(isText || entry.name.startsWith("."))) return [];
    return [{ path, text: readFileSync(join(ROOT, path), "utf8") }];
  });
}
