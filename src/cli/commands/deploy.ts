// `gyrotron deploy`: a program or a module becomes a running canister.

import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { showWarnings } from "../diagnostics.ts";
import { type DeployMode, deployCanister } from "../deploy-canister.ts";
import { DEFAULT_DATA, NODE_FLAGS, readFlags } from "../flags.ts";
import { connect } from "../node-client.ts";
import { paint, print, printable } from "../output.ts";

const MODES: readonly DeployMode[] = ["auto", "install", "reinstall", "upgrade"];

export const deploy: Command = {
  usage:
    "deploy FILE.mo|.ts|.as.ts|.wasm|.wasm.gz [--name NAME] [--arg CANDID] [--mode auto|install|reinstall|upgrade]",
  summary: "Compiles a program and installs it on the running node, or upgrades what runs there.",
  details: [
    ".ts           TypeScript through npm azle, .as.ts (or a folder with asconfig.json) through",
    "              npm assemblyscript: both are taken from the project of the file",
    "--name NAME   what to call it; otherwise after the file, or after its folder for main.mo, index.ts",
    "--arg CANDID  arguments of the installation as Candid text, such as '(42, \"x\")'",
    "--mode MODE   auto (default) installs the first time and upgrades after; memory is kept",
  ],
  async run(args) {
    const table = {
      ...NODE_FLAGS,
      name: { type: "string" },
      arg: { type: "string" },
      mode: { type: "string" },
    } as const;
    const flags = readFlags(args, table, this.usage);
    const [file, ...surplus] = flags.positionals;
    if (file === undefined || surplus.length > 0) {
      throw new CliError({ code: "cli/usage", problem: "one file is needed", usage: this.usage });
    }
    const mode = MODES.find((name) => name === (flags.text("mode") ?? "auto"));
    if (mode === undefined) {
      const problem = `--mode takes ${MODES.join(", ")}, not ${flags.text("mode")}`;
      throw new CliError({ code: "cli/usage", problem, usage: this.usage });
    }
    const { agent, deployments } = await connect(flags, this.usage);
    const result = await deployCanister({
      agent,
      deployments,
      dataFolder: flags.text("data") ?? DEFAULT_DATA,
      file,
      name: flags.text("name"),
      argument: flags.text("arg") ?? "()",
      mode,
    });
    showWarnings(result.module.warnings);
    const { name, canister, action, module } = result;
    const size = `${(module.wasm.length / 1024).toFixed(0)} KiB`;
    print(
      `${paint(name, "strong")} ${action} as ${canister.toText()} (${size}, ${seconds(result.compileMs + result.installMs)})`,
    );
    for (const [method, type] of result.interface?.methods ?? []) {
      print(`  ${printable(method)} : ${type.display().replaceAll("→", "->").trim()}`, "faint");
    }
    return 0;
  },
};

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
