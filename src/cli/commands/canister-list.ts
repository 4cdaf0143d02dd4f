// `gyrotron canister list`.

import type { Command } from "../command.ts";
import { DEFAULT_DATA, NODE_FLAGS, readFlags } from "../flags.ts";
import { Deployments } from "../deployments.ts";
import { paint, print } from "../output.ts";

export const canisterList: Command = {
  usage: "canister list",
  summary: "Lists the canisters that were deployed from here by name.",
  run(args) {
    const flags = readFlags(args, NODE_FLAGS, this.usage);
    const entries = new Deployments(flags.text("data") ?? DEFAULT_DATA).entries();
    const width = Math.max(0, ...entries.map(([name]) => name.length));
    for (const [name, { id }] of entries) print(`${paint(name.padEnd(width), "strong")}  ${id}`);
    if (entries.length === 0) print("Nothing has been deployed here.");
    return Promise.resolve(0);
  },
};
