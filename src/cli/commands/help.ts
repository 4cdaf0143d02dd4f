// `gyrotron help`: the overview, or one command in detail.

import { CliError } from "../cli-error.ts";
import { COMMANDS, type Command, findCommand, suggestCommand } from "../command.ts";
import { paint, print } from "../output.ts";

export const help: Command = {
  usage: "help [COMMAND]",
  summary: "Shows this overview, or one command in detail.",
  async run(args) {
    if (args.length === 0) {
      await showOverview();
      return 0;
    }
    const name = findCommand(args);
    const load = name === undefined ? undefined : COMMANDS.get(name);
    if (load === undefined) {
      const suggestion = suggestCommand(args);
      throw new CliError({ code: "cli/unknown-command", command: args.join(" "), suggestion });
    }
    showCommand(await load());
    return 0;
  },
};

/** Prints a command's usage, summary and details. */
export function showCommand(command: Command): void {
  print(`gyrotron ${command.usage}`, "strong");
  print();
  print(command.summary);
  for (const line of command.details ?? []) print(`  ${line}`);
}

async function showOverview(): Promise<void> {
  print("gyrotron: canister smart contracts with answers anyone can verify", "strong");
  print();
  const width = Math.max(...[...COMMANDS.keys()].map((name) => name.length));
  for (const [name, load] of COMMANDS) {
    const { summary } = await load();
    print(`  ${paint(name.padEnd(width), "strong")}  ${summary}`);
  }
  print();
  print(
    "`gyrotron help COMMAND` shows how a command is used. Commands that talk to a node",
    "faint",
  );
  print("also take --host, --port, --data and --identity FILE.pem.", "faint");
}
