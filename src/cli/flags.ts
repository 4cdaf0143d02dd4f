// Reads a command's flags and positional arguments; every mistake names the command's usage.

import { isIPv6 } from "node:net";
import { type ParseArgsOptionDescriptor, parseArgs } from "node:util";
import { CliError } from "./cli-error.ts";

/** Flags that a command knows, by long name. */
export type FlagTable = Readonly<Record<string, ParseArgsOptionDescriptor>>;

/** What was typed. */
export interface Flags {
  readonly positionals: readonly string[];
  /** A flag's text; undefined if it is absent. */
  text(name: string): string | undefined;
  /** The texts of a flag that may stand more than once. */
  texts(name: string): readonly string[];
  isSet(name: string): boolean;
}

/** Flags of every command that talks to a running node. */
export const NODE_FLAGS = {
  host: { type: "string" },
  port: { type: "string" },
  data: { type: "string" },
  identity: { type: "string" },
} as const satisfies FlagTable;

export const DEFAULT_HOST = "127.0.0.1";
export const DEFAULT_PORT = 4943;
export const DEFAULT_DATA = ".gyrotron";

/** Reads `args`. @throws CliError `cli/usage` */
export function readFlags(args: readonly string[], table: FlagTable, usage: string): Flags {
  try {
    const { values, positionals } = parseArgs({
      args: joinNegatives(args, table),
      options: table,
      allowPositionals: true,
    });
    const given = values as Readonly<Record<string, unknown>>;
    return {
      positionals,
      text: (name) => {
        const value = given[name];
        return typeof value === "string" ? value : undefined;
      },
      texts: (name) => {
        const value = given[name];
        return Array.isArray(value) ? value.map(String) : [];
      },
      isSet: (name) => given[name] === true,
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const [first = "wrong flags"] = message.split(/\.(?:\s|$)/);
    // A text that looks like a flag.
    const [, remedy] = /use '(--[\w-]+=)/.exec(message) ?? [];
    const problem = remedy === undefined ? first : `${first} (write ${remedy}...)`;
    throw new CliError({ code: "cli/usage", problem, usage }, { cause: error });
  }
}

/** `--flag -1` as `--flag=-1`: a number after a flag with a value is no flag. */
function joinNegatives(args: readonly string[], table: FlagTable): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1) ?? "";
    const takesText = before.startsWith("--") && table[before.slice(2)]?.type === "string";
    const isPlain = joined.includes("--");
    if (takesText && !isPlain && /^-[\d.]/.test(arg))
      joined[joined.length - 1] = `${before}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}

/** An integer flag, or its default. @throws CliError `cli/usage` if it is no integer in the range */
export function readInteger(
  flags: Flags,
  name: string,
  range: { min: number; max: number; standard: number; usage: string },
): number {
  const text = flags.text(name);
  if (text === undefined) return range.standard;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  const problem = `--${name} takes ${range.min} to ${range.max}, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage: range.usage });
}

/** One of a few words; the first is the default. @throws CliError `cli/usage` */
export function readChoice<const N extends string>(
  flags: Flags,
  name: string,
  choices: readonly N[],
  usage: string,
): N {
  const text = flags.text(name) ?? choices[0];
  const choice = choices.find((known) => known === text);
  if (choice !== undefined) return choice;
  const problem = `--${name} takes ${choices.join(", ")}, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage });
}

/** Where the node is or shall be. @throws CliError if the port is no port or the host is a URL */
export function readAddress(flags: Flags, usage: string): { host: string; port: number } {
  const host = flags.text("host") ?? DEFAULT_HOST;
  const text = flags.text("port");
  const port = text === undefined ? DEFAULT_PORT : Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535 || text === "") {
    throw new CliError({
      code: "cli/usage",
      problem: `--port takes 0 to 65535, not ${text}`,
      usage,
    });
  }
  if (/[/:]/.test(host) && !isIPv6(host)) {
    const problem = `--host takes a name or an address without scheme and port, not ${host}`;
    throw new CliError({ code: "cli/usage", problem, usage });
  }
  return { host, port };
}

/** What a command that is proposed needs to find the same data folder. */
export function dataFlag(folder: string): string {
  if (folder === DEFAULT_DATA) return "";
  return ` --data ${/^[\w./-]+$/.test(folder) ? folder : JSON.stringify(folder)}`;
}

/** URL of an address, with the brackets of IPv6. */
export function formatUrl(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
