// `gyrotron state export|import|verify`: a network's state as one file, and whether a state is what its
// root says.

import { formatHex } from "gyrotron/base";
import type { StateSummary } from "gyrotron/node";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { DEFAULT_DATA, readFlags } from "../flags.ts";
import { print } from "../output.ts";

const DATA = { data: { type: "string" } } as const;

export const stateExport: Command = {
  usage: "state export FILE [--data FOLDER] [--keys]",
  summary: "Writes the state of a stopped node into one file.",
  details: [
    `--data FOLDER   the node's data folder (${DEFAULT_DATA})`,
    "--keys          the network's secret keys go along; without them the file is of use only with the folder's keys.json",
  ],
  async run(args) {
    const flags = readFlags(args, { ...DATA, keys: { type: "boolean" } }, this.usage);
    const file = onlyFile(flags.positionals, this.usage);
    const { exportState } = await import("gyrotron/node");
    const withKeys = flags.isSet("keys");
    show(await exportState(flags.text("data") ?? DEFAULT_DATA, file, { withKeys }));
    return 0;
  },
};

export const stateImport: Command = {
  usage: "state import FILE [--data FOLDER]",
  summary: "Fills an empty data folder from a file of `state export`.",
  details: [`--data FOLDER   an empty or absent folder (${DEFAULT_DATA})`],
  async run(args) {
    const flags = readFlags(args, DATA, this.usage);
    const file = onlyFile(flags.positionals, this.usage);
    const folder = flags.text("data") ?? DEFAULT_DATA;
    const { importState } = await import("gyrotron/node");
    const summary = await importState(file, folder);
    show(summary);
    if (!summary.hasKeys)
      print(`the file holds no keys: put the network's keys.json into ${folder}`);
    return 0;
  },
};

export const stateVerify: Command = {
  usage: "state verify [FILE] [--data FOLDER]",
  summary: "Computes the root of a state again, in a file or in a stopped node's data folder.",
  details: [`--data FOLDER   the folder to verify where no file is named (${DEFAULT_DATA})`],
  async run(args) {
    const flags = readFlags(args, DATA, this.usage);
    const { verifyStateFile, verifyStateFolder } = await import("gyrotron/node");
    const isFile = flags.positionals.length > 0;
    show(
      isFile
        ? verifyStateFile(onlyFile(flags.positionals, this.usage))
        : await verifyStateFolder(flags.text("data") ?? DEFAULT_DATA),
    );
    print("the root is that of the state");
    return 0;
  },
};

function onlyFile(positionals: readonly string[], usage: string): string {
  const [file, ...surplus] = positionals;
  if (file !== undefined && surplus.length === 0) return file;
  throw new CliError({ code: "cli/usage", problem: "one file is needed", usage });
}

function show({ header, dataFormat, entries, hasKeys }: StateSummary): void {
  const time = new Date(Number(header.timeNs / 1_000_000n)).toISOString();
  print(`block ${header.height} of ${time}, ${dataFormat}${hasKeys ? ", with keys" : ""}`);
  print(`root ${formatHex(header.stateRoot)}`);
  print(
    `${entries.state} entries of state, ${entries.blocks} blocks, ${entries.archive} of receipts`,
  );
}
