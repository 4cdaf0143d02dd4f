// `gyrotron canister start`, `stop` and `delete`.

import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { NODE_FLAGS, readFlags } from "../flags.ts";
import { changeLifecycle } from "../management.ts";
import { connect, findCanister } from "../node-client.ts";
import { print } from "../output.ts";

export const canisterStart: Command = lifecycleCommand(
  "start",
  "Starts a canister that was stopped.",
  "runs",
);
export const canisterStop: Command = lifecycleCommand(
  "stop",
  "Stops a canister once its open calls are answered.",
  "is stopped",
);
export const canisterDelete: Command = lifecycleCommand(
  "delete",
  "Deletes a stopped canister with its cycles.",
  "is deleted",
);

function lifecycleCommand(
  action: "start" | "stop" | "delete",
  summary: string,
  done: string,
): Command {
  const usage = `canister ${action} CANISTER`;
  return {
    usage,
    summary,
    async run(args) {
      const flags = readFlags(args, NODE_FLAGS, usage);
      const [name] = flags.positionals;
      if (name === undefined)
        throw new CliError({ code: "cli/usage", problem: "a canister is needed", usage });
      const client = await connect(flags, usage);
      await changeLifecycle(client.agent, findCanister(client, name), action);
      if (action === "delete") client.deployments.forget(name);
      print(`${name} ${done}.`);
      return 0;
    },
  };
}
