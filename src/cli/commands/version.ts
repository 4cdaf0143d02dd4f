// `gyrotron version`.

import { readFileSync } from "node:fs";
import process from "node:process";
import type { Command } from "../command.ts";
import { print } from "../output.ts";

export const version: Command = {
  usage: "version",
  summary: "Prints the versions of gyrotron and of the Node it runs on.",
  run() {
    print(`gyrotron ${packageVersion()} (Node ${process.version})`);
    return Promise.resolve(0);
  },
};

/** Version of this package. */
export function packageVersion(): string {
  const manifest = new URL("../../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
