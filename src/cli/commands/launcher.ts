// `gyrotron launcher`: a node as `icp network start` wants to be given one. That tool runs the program
// that ICP_CLI_NETWORK_LAUNCHER_PATH names with the flags below and reads a file that says where the
// network is. Flags come first there: main.ts knows them as this command.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { DEFAULT_HOST, readAddress, readFlags } from "../flags.ts";
import { printProblem } from "../output.ts";
import { runNode } from "../run-node.ts";
import { showReady } from "./start.ts";

/** The contract's version is 1.x.y; a new major one may ask for anything. */
const INTERFACE_VERSION = /^1\./;
const STATUS_VERSION = "1";

const FLAGS = {
  "interface-version": { type: "string" },
  "state-dir": { type: "string" },
  "status-dir": { type: "string" },
  bind: { type: "string" },
  "gateway-port": { type: "string" },
  verbose: { type: "boolean" },
  ii: { type: "boolean" },
  nns: { type: "boolean" },
  "artificial-delay-ms": { type: "string" },
  subnet: { type: "string", multiple: true },
  "bitcoind-addr": { type: "string", multiple: true },
  "dogecoind-addr": { type: "string", multiple: true },
  domain: { type: "string", multiple: true },
} as const;
/** What a network of one node has none of. */
const UNKNOWN = ["ii", "nns", "artificial-delay-ms", "bitcoind-addr", "dogecoind-addr"] as const;

export const launcher: Command = {
  usage: "launcher --interface-version 1.x --state-dir FOLDER --status-dir FOLDER [FLAG...]",
  summary: "Runs a node for `icp network start` (ICP_CLI_NETWORK_LAUNCHER_PATH names gyrotron).",
  details: [
    "--state-dir FOLDER   keys, state and blocks",
    "--status-dir FOLDER  where status.json says how to reach the network",
    `--bind ADDRESS       on which address to listen (${DEFAULT_HOST})`,
    "--gateway-port PORT  any free one unless given",
  ],
  async run(args) {
    const flags = readFlags(args, FLAGS, this.usage);
    const version = flags.text("interface-version") ?? "";
    const dataFolder = flags.text("state-dir");
    const statusFolder = flags.text("status-dir");
    if (
      !INTERFACE_VERSION.test(version) ||
      dataFolder === undefined ||
      statusFolder === undefined
    ) {
      const problem = `launchers of interface version 1 take --state-dir and --status-dir, not version "${version}"`;
      throw new CliError({ code: "cli/usage", problem, usage: this.usage });
    }
    for (const name of UNKNOWN) {
      if (args.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`)))
        printProblem(`--${name} has no effect on a network of one node`);
    }
    const { host, port } = readAddress(
      {
        ...flags,
        text: (name) =>
          name === "host" ? flags.text("bind") : (flags.text("gateway-port") ?? "0"),
      },
      this.usage,
    );
    const node = await runNode({ host, port, dataFolder });
    const status = {
      v: STATUS_VERSION,
      gateway_port: node.port,
      root_key: node.core.rootKeyDer.toHex(),
    };
    writeFileSync(join(statusFolder, "status.json"), `${JSON.stringify(status)}\n`);
    showReady(node, dataFolder);
    return node.ended;
  },
};
