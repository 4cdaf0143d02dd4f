// `gyrotron canister logs`: the log that the network keeps; the live one is in the node's terminal.

import { utf8TextLossy } from "gyrotron/base";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { NODE_FLAGS, readFlags } from "../flags.ts";
import { fetchLogs } from "../management.ts";
import { connect, findCanister } from "../node-client.ts";
import { paint, print, printable } from "../output.ts";

export const canisterLogs: Command = {
  usage: "canister logs CANISTER",
  summary: "Prints a canister's log: what it printed, and its traps.",
  async run(args) {
    const flags = readFlags(args, NODE_FLAGS, this.usage);
    const [name] = flags.positionals;
    if (name === undefined)
      throw new CliError({ code: "cli/usage", problem: "a canister is needed", usage: this.usage });
    const client = await connect(flags, this.usage);
    const records = await fetchLogs(client.agent, findCanister(client, name));
    for (const { idx, timestamp_nanos: timeNs, content } of records) {
      const time = new Date(Number(timeNs / 1_000_000n)).toISOString();
      print(`${paint(`${idx} ${time}`, "faint")} ${printable(utf8TextLossy(content))}`);
    }
    return 0;
  },
};
