// `gyrotron start`: a node in the foreground.

import { formatPrincipal } from "gyrotron/crypto";
import type { Command } from "../command.ts";
import { DEFAULT_DATA, DEFAULT_HOST, DEFAULT_PORT, readAddress, readFlags } from "../flags.ts";
import { paint, print } from "../output.ts";
import { type RunningNode, runNode } from "../run-node.ts";

export const start: Command = {
  usage: "start [--port PORT] [--host ADDRESS] [--data FOLDER] [--model MODEL]",
  summary: "Runs a network of one node in the foreground and shows what its canisters print.",
  details: [
    `--port PORT      where clients reach it (${DEFAULT_PORT}); 0 takes any free one`,
    `--host ADDRESS   on which address to listen (${DEFAULT_HOST})`,
    `--data FOLDER    keys, state and blocks (${DEFAULT_DATA}); created if absent`,
    "--model MODEL    offers another model to canisters; may stand more than once",
  ],
  async run(args) {
    const table = {
      host: { type: "string" },
      port: { type: "string" },
      data: { type: "string" },
      model: { type: "string", multiple: true },
    } as const;
    const flags = readFlags(args, table, this.usage);
    const dataFolder = flags.text("data") ?? DEFAULT_DATA;
    const modelPaths = await findModels(flags.texts("model"), dataFolder);
    const node = await runNode({ ...readAddress(flags, this.usage), dataFolder, modelPaths });
    showReady(node, dataFolder);
    return node.ended;
  },
};

/** The bundled model and those that are asked for. */
async function findModels(names: readonly string[], folder: string): Promise<string[]> {
  const { bundledModelPath } = await import("gyrotron/node");
  if (names.length === 0) return [bundledModelPath()];
  const { findModel } = await import("../local-model.ts");
  return [bundledModelPath(), ...names.map((name) => findModel(name, { folder }))];
}

/** Says where the node is and what it is. */
export function showReady(node: RunningNode, dataFolder: string): void {
  const { height } = node.core.status();
  print(
    `${paint("ready", "good")} at ${paint(node.url, "strong")}, state in ${dataFolder}, block ${height}`,
  );
  print(`network ${formatPrincipal(node.core.subnetId)}`, "faint");
}
