// `gyrotron start`: a node in the foreground.

import { formatPrincipal } from "gyrotron/crypto";
import type { Command } from "../command.ts";
import {
  DEFAULT_DATA,
  DEFAULT_HOST,
  DEFAULT_PORT,
  type Flags,
  readAddress,
  readChoice,
  readFlags,
  readInteger,
} from "../flags.ts";
import { NETWORK_FLAG_DETAILS, NETWORK_FLAGS, readNetworkChoices } from "../network-choices.ts";
import { paint, print } from "../output.ts";
import { type RunningNode, runNode } from "../run-node.ts";

/** More threads than this only take memory. */
const QUERY_WORKERS_MAX = 16;

export const start: Command = {
  usage:
    "start [--port PORT] [--host ADDRESS] [--data FOLDER] [--model MODEL] [--backend wasm|native] [--query-workers COUNT] [--icp-rate XDR] [--subnet-admin PRINCIPAL] [--no-provisional]",
  summary: "Runs a network of one node in the foreground and shows what its canisters print.",
  details: [
    `--port PORT      where clients reach it (${DEFAULT_PORT}); 0 takes any free one`,
    `--host ADDRESS   on which address to listen (${DEFAULT_HOST})`,
    `--data FOLDER    keys, state and blocks (${DEFAULT_DATA}); created if absent`,
    "--model MODEL    offers another model to canisters; may stand more than once",
    "--backend B      what computes for canisters: wasm (default), or native: kernels that this machine's C",
    "                 compiler makes once, some times as fast; the bits are the same",
    `--query-workers COUNT   threads that answer queries, 1 to ${QUERY_WORKERS_MAX}; one less than there are cores, at most 4`,
    ...NETWORK_FLAG_DETAILS,
  ],
  async run(args) {
    const table = {
      host: { type: "string" },
      port: { type: "string" },
      data: { type: "string" },
      model: { type: "string", multiple: true },
      "query-workers": { type: "string" },
      backend: { type: "string" },
      ...NETWORK_FLAGS,
    } as const;
    const flags = readFlags(args, table, this.usage);
    const dataFolder = flags.text("data") ?? DEFAULT_DATA;
    const modelPaths = await findModels(flags.texts("model"), dataFolder);
    const queryWorkers = readQueryWorkers(flags, this.usage);
    const isNative = readChoice(flags, "backend", ["wasm", "native"], this.usage) === "native";
    const address = readAddress(flags, this.usage);
    const choices = readNetworkChoices(flags, this.usage);
    const options = { dataFolder, modelPaths, isNative, queryWorkers, choices };
    const node = await runNode({ ...address, ...options });
    showReady(node, dataFolder);
    return node.ended;
  },
};

/** undefined lets the node decide. @throws CliError `cli/usage` */
function readQueryWorkers(flags: Flags, usage: string): number | undefined {
  const range = { min: 1, max: QUERY_WORKERS_MAX, standard: 0, usage };
  const count = readInteger(flags, "query-workers", range);
  return count === 0 ? undefined : count;
}

/** The bundled model and those that are asked for. */
async function findModels(names: readonly string[], folder: string): Promise<string[]> {
  const { bundledModelPath } = await import("gyrotron/node/models");
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
