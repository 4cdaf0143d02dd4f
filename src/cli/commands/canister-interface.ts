// `gyrotron canister interface`.

import { readInterfaceText } from "../certified-canister.ts";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { NODE_FLAGS, readFlags } from "../flags.ts";
import { connect, findCanister } from "../node-client.ts";
import { print, printable } from "../output.ts";

export const canisterInterface: Command = {
  usage: "canister interface CANISTER",
  summary: "Prints the Candid interface that a canister publishes.",
  async run(args) {
    const flags = readFlags(args, NODE_FLAGS, this.usage);
    const [name] = flags.positionals;
    if (name === undefined)
      throw new CliError({ code: "cli/usage", problem: "a canister is needed", usage: this.usage });
    const client = await connect(flags, this.usage);
    const text = await readInterfaceText(client.agent, findCanister(client, name));
    print(text === undefined ? `${name} publishes no interface.` : printable(text.trimEnd()));
    return 0;
  },
};
