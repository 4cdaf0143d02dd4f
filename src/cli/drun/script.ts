// The script language of Motoko's test runner: one command a line, tokens between white space.
// Owns the syntax, not what commands do.

import { parseHex, utf8Bytes } from "gyrotron/base";

/** One line of a script. */
export type ScriptCommand =
  | {
      kind: "install" | "reinstall" | "upgrade";
      canister: string;
      module: string;
      argument: Uint8Array;
    }
  | { kind: "ingress" | "query"; canister: string; method: string; argument: Uint8Array };

/** Commands, or what the runner says of a line that is none. */
export type ParsedScript = { commands: ScriptCommand[] } | { problem: string };

/** What the words `$ID` and `$PRINCIPAL` of a script stand for. */
const PRINCIPAL_REPLY = "0x4449444c016c01b3c4b1f204680100010a00000000000000000101";
const INSTALLING: ReadonlySet<string> = new Set(["install", "reinstall", "upgrade"]);
const CALLING: ReadonlySet<string> = new Set(["ingress", "query"]);

/** Reads a script. `id` stands for `$ID`. */
export function parseScript(text: string, id: string): ParsedScript {
  const commands: ScriptCommand[] = [];
  const filled = text.replaceAll("$ID", id).replaceAll("$PRINCIPAL", PRINCIPAL_REPLY);
  for (const line of filled.split("\n")) {
    const tokens = line.trim().split(/\s+/);
    const [word = ""] = tokens;
    if (word === "" || word.startsWith("#") || word === "create") continue;
    if (!INSTALLING.has(word) && !CALLING.has(word)) return { problem: `Unknown command: ${word}` };
    if (tokens.length !== 4) return { problem: `${word} command requires 3 arguments` };
    const [, canister = "", third = "", last = ""] = tokens;
    const argument = parseArgument(last);
    if (argument === undefined) return { problem: `Invalid argument: ${last}` };
    commands.push(
      INSTALLING.has(word)
        ? { kind: word as "install", canister, module: third, argument }
        : { kind: word as "ingress", canister, method: third, argument },
    );
  }
  return { commands };
}

/** The lines `//CALL ...` of a Motoko source as a script that installs `module` first. */
export function scriptFromSource(source: string, module: string): string {
  const lines = [`install $ID ${module} 0x`];
  for (const [, call] of markCalls(source).matchAll(/^\/\/CALL (.*)$/gm)) {
    const [kind = "", ...rest] = (call ?? "").split(" ");
    if (CALLING.has(kind)) lines.push(`${kind} $ID ${rest.join(" ")}`);
    if (kind === "upgrade") lines.push(`upgrade $ID ${module} 0x`);
  }
  return lines.join("\n");
}

/** Lines that interpreters run themselves and that call the canister here: `go(); //OR-CALL ...`. */
export function markCalls(source: string): string {
  return source.replaceAll(/^.*\/\/OR-CALL/gm, "//CALL");
}

/** The compiler's flags for a test of Motoko: actors need not be persistent, and what the file says. */
export function flagsOfSource(source: string): string[] {
  const lines = [...source.matchAll(/^\/\/MOC-FLAG (.*)$/gm)].map(([, flags]) => flags ?? "");
  const flags = lines.flatMap((line) => line.split(/\s+/)).filter((flag) => flag !== "");
  return ["--legacy-actors", ...flags];
}

/** `0x` and hex, or ASCII in quotes with `\xHH`, `\bBBBBBBBB`, `\"` and `\\`; undefined: neither. */
function parseArgument(text: string): Uint8Array | undefined {
  if (text.startsWith("0x")) return parseHex(text.slice(2));
  const content = /^"(.*)"$/.exec(text)?.[1];
  if (content === undefined) return undefined;
  const bytes: number[] = [];
  const pieces = /\\x([0-9a-fA-F]{2})|\\b([01]{8})|\\(["\\])|([\x20-\x21\x23-\x5b\x5d-\x7e])/y;
  while (pieces.lastIndex < content.length) {
    const match = pieces.exec(content);
    if (match === null) return undefined;
    const [, hex, binary, escaped, plain] = match;
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (binary !== undefined) bytes.push(Number.parseInt(binary, 2));
    else bytes.push(...utf8Bytes(escaped ?? plain ?? ""));
  }
  return Uint8Array.from(bytes);
}
