// `gyrotron canister status`.

import { formatHex } from "gyrotron/base";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { NODE_FLAGS, readFlags } from "../flags.ts";
import { readCanisterStatus } from "../management.ts";
import { connect, findCanister } from "../node-client.ts";
import { paint, print } from "../output.ts";

export const canisterStatus: Command = {
  usage: "canister status CANISTER",
  summary: "Shows what a canister is and has, to its controllers.",
  async run(args) {
    const flags = readFlags(args, NODE_FLAGS, this.usage);
    const [name] = flags.positionals;
    if (name === undefined)
      throw new CliError({ code: "cli/usage", problem: "a canister is needed", usage: this.usage });
    const client = await connect(flags, this.usage);
    const canister = findCanister(client, name);
    const status = await readCanisterStatus(client.agent, canister);
    const [moduleHash] = status.module_hash;
    const { settings } = status;
    const rows: [string, string][] = [
      ["canister", canister.toText()],
      ["status", Object.keys(status.status)[0] ?? ""],
      ["module", moduleHash === undefined ? "none" : `sha256 ${formatHex(moduleHash)}`],
      ["controllers", settings.controllers.map((controller) => controller.toText()).join(", ")],
      ["cycles", grouped(status.cycles)],
      ["burned a day", `${grouped(status.idle_cycles_burned_per_day)} cycles when idle`],
      ["memory", `${grouped(status.memory_size)} bytes`],
      [
        "memory limit",
        settings.wasm_memory_limit === 0n ? "none" : `${grouped(settings.wasm_memory_limit)} bytes`,
      ],
      [
        "freezing",
        `when its cycles last less than ${grouped(settings.freezing_threshold)} seconds`,
      ],
    ];
    for (const [label, text] of rows) print(`${paint(label.padEnd(13), "faint")} ${text}`);
    return 0;
  },
};

function grouped(value: bigint): string {
  return value.toString().replaceAll(/\B(?=([0-9]{3})+$)/g, "_");
}
