// `gyrotron drun`: scripts as Motoko's own tests run them, on a network in memory.

import { readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import {
  flagsOfSource,
  markCalls,
  parseScript,
  type ScriptCommand,
  scriptFromSource,
} from "../drun/script.ts";
import { FIRST_IDS, runScript, type ScriptModule, type SubnetKind } from "../drun/run-script.ts";
import { readFlags } from "../flags.ts";
import { print, printable, printProblem } from "../output.ts";

const FLAGS = { check: { type: "string" }, "subnet-type": { type: "string" } } as const;
const MODULE = /\.(mo|wasm|wasm\.gz)$/;

export const drun: Command = {
  usage: "drun FILE.drun|FILE.mo|FILE.wasm [CALLS.mo] [--check FILE.ok] [--subnet-type KIND]",
  summary: "Runs a test script of Motoko's kind on a network in memory.",
  details: [
    "Lines: install|reinstall|upgrade ID FILE ARG, ingress|query ID METHOD ARG; files are found",
    "beside the script. Of a .mo file the lines `//CALL ingress|query METHOD ARG` are run; a .wasm",
    "file takes them from the .mo file named after it.",
    "--check FILE.ok      compares what is printed with a file; the status says whether it is the same",
    "--subnet-type KIND   system (the default: everything is free) or application",
  ],
  async run(args) {
    const flags = readFlags(args, FLAGS, this.usage);
    const [file, calls] = flags.positionals;
    const subnet = flags.text("subnet-type") ?? "system";
    if (file === undefined || !(subnet in FIRST_IDS)) {
      const problem = file === undefined ? "drun takes a file" : `no subnet type ${subnet}`;
      throw new CliError({ code: "cli/usage", problem, usage: this.usage });
    }
    const kind = subnet as SubnetKind;
    const parsed = parseScript(readScript(file, calls), FIRST_IDS[kind]);
    if ("problem" in parsed) {
      printProblem(`Error: ${parsed.problem}`);
      return 1;
    }
    const lines: string[] = [];
    const status = await run(parsed.commands, kind, dirname(file), (line) => {
      print(printable(line));
      lines.push(...line.split("\n"));
    });
    const expected = flags.text("check");
    if (expected === undefined) return status;
    return isSame(lines, readText(expected).trimEnd().split("\n"), expected) ? 0 : 1;
  },
};

async function run(
  commands: readonly ScriptCommand[],
  subnet: SubnetKind,
  folder: string,
  printLine: (line: string) => void,
): Promise<number> {
  const { compileFile } = await import("gyrotron/node");
  const loaded = new Map<string, Promise<ScriptModule>>();
  const load = (path: string): Promise<ScriptModule> => {
    const known = loaded.get(path);
    if (known !== undefined) return known;
    const file = join(folder, path);
    const source = extname(path) === ".mo" ? readText(file) : undefined;
    const options =
      source === undefined
        ? {}
        : { motokoFlags: flagsOfSource(source), motokoText: markCalls(source) };
    const module = compileFile(file, options).then(({ wasm, keepsHeap }) => ({
      wasm,
      keepsMemory: keepsHeap,
    }));
    loaded.set(path, module);
    return module;
  };
  return runScript(commands, subnet, load, printLine);
}

function readScript(file: string, calls: string | undefined): string {
  if (!MODULE.test(file)) return readText(file);
  if (extname(file) === ".mo") return scriptFromSource(readText(file), basename(file));
  return scriptFromSource(calls === undefined ? "" : readText(calls), basename(file));
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new CliError({ code: "cli/file", file, problem }, { cause: error });
  }
}

/** Says where the first difference is. */
function isSame(found: readonly string[], expected: readonly string[], file: string): boolean {
  const count = Math.max(found.length, expected.length);
  for (let at = 0; at < count; at++) {
    if (found[at] === expected[at]) continue;
    printProblem(`${file}, line ${at + 1}:`);
    printProblem(`  expected: ${expected[at] ?? "(the end)"}`);
    printProblem(`  found:    ${printable(found[at] ?? "(the end)")}`);
    return false;
  }
  return true;
}
