// `gyrotron verify`: a stranger's check of a receipt: hashes, proof, certificate, and the job run again.

import { existsSync } from "node:fs";
import { AnonymousIdentity } from "@icp-sdk/core/agent";
import { equalBytes, formatHex, parseHex, present } from "gyrotron/base";
import { formatPrincipal } from "gyrotron/crypto";
import type { Receipt } from "gyrotron/job";
import { BUNDLED_MODEL } from "gyrotron/node/models";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import {
  DEFAULT_DATA,
  type Flags,
  type FlagTable,
  formatUrl,
  readAddress,
  readFlags,
  readInteger,
} from "../flags.ts";
import { THREADS_MAX } from "../local-backend.ts";
import { LocalModel } from "../local-model.ts";
import { createAgent } from "../node-client.ts";
import { fact, paint, print, printable } from "../output.ts";
import { type Check, checkEvidence, checkRerun, promptOf } from "../receipt-check.ts";
import {
  fetchReceipt,
  loadEvidence,
  type ReceiptEvidence,
  saveEvidence,
} from "../receipt-evidence.ts";

const TABLE = {
  host: { type: "string" },
  port: { type: "string" },
  node: { type: "string" },
  file: { type: "string" },
  "root-key": { type: "string" },
  model: { type: "string" },
  data: { type: "string" },
  threads: { type: "string" },
  save: { type: "string" },
} as const satisfies FlagTable;

const HASH_CHARACTERS = 64;

export const verify: Command = {
  usage: "verify RECEIPT [--node URL | --file FILE] [--root-key HEX] [--model MODEL]",
  summary: "Checks a receipt: certificate, proof and hashes, and runs the job again.",
  details: [
    "RECEIPT         its hash, or a file that chat --save wrote",
    "--node URL      where to fetch it and the root key (or --host and --port)",
    "--file FILE     reads the receipt with that hash from a file",
    "--root-key HEX  the network's root key (DER), if the node is not to be asked for it",
    `--model MODEL   name, folder or file of the model to run it again on (${BUNDLED_MODEL})`,
    "--threads N     changes the speed and nothing else (1)",
    "--save FILE     keeps the receipt and its proof",
  ],
  async run(args) {
    const { usage } = this;
    const flags = readFlags(args, TABLE, usage);
    const [name, ...surplus] = flags.positionals;
    if (name === undefined || surplus.length > 0) {
      throw new CliError({ code: "cli/usage", problem: "one receipt is needed", usage });
    }
    const threads = readInteger(flags, "threads", { min: 1, max: THREADS_MAX, standard: 1, usage });
    const url = flags.text("node")?.replace(/\/$/, "") ?? urlOf(flags, usage);
    const { evidence, expectedHash } = await findEvidence(flags, name, url, usage);
    const rootKeyDer = await findRootKey(flags, url, usage);
    const { checks, receipt } = checkEvidence(evidence, { rootKeyDer, expectedHash });
    checks.forEach(showCheck);
    const file = flags.text("save");
    if (file !== undefined) saveEvidence(file, evidence);
    if (receipt === undefined) return conclude(checks);
    showJob(receipt);
    const rerun = await runAgain(receipt, flags.text("model") ?? BUNDLED_MODEL, {
      folder: flags.text("data") ?? DEFAULT_DATA,
      threads,
    });
    rerun.forEach(showCheck);
    return conclude([...checks, ...rerun]);
  },
};

function urlOf(flags: Flags, usage: string): string {
  const { host, port } = readAddress(flags, usage);
  return formatUrl(host, port);
}

/** The receipt by hash from a node or a file, or from the file that is named instead of a hash. */
async function findEvidence(
  flags: Flags,
  name: string,
  url: string,
  usage: string,
): Promise<{ evidence: ReceiptEvidence; expectedHash: Uint8Array | undefined }> {
  const expectedHash = name.length === HASH_CHARACTERS ? parseHex(name) : undefined;
  const file = flags.text("file") ?? (expectedHash === undefined ? name : undefined);
  if (expectedHash === undefined && !existsSync(name)) {
    const problem = `${name} is neither a receipt's hash (64 hex digits) nor a file`;
    throw new CliError({ code: "cli/usage", problem, usage });
  }
  if (file !== undefined) return { evidence: loadEvidence(file), expectedHash };
  const evidence = await fetchReceipt(url, present(expectedHash, "a hash was given"));
  return { evidence, expectedHash };
}

/** Whose signature is believed: the key that was given, or the one that the node says it has. */
async function findRootKey(flags: Flags, url: string, usage: string): Promise<Uint8Array> {
  const given = flags.text("root-key");
  if (given === undefined) {
    const { rootKey } = await createAgent(url, new AnonymousIdentity());
    fact("root key", `as ${url} says; --root-key pins it`, "faint");
    return present(rootKey, "the agent has fetched the root key");
  }
  const key = parseHex(given);
  if (key !== undefined && key.length > 0) return key;
  throw new CliError({ code: "cli/usage", problem: "--root-key takes hex digits", usage });
}

function showJob({ job, caller, timeNs }: Receipt): void {
  const time = new Date(Number(timeNs / 1_000_000n)).toISOString();
  fact("asked", `by ${formatPrincipal(caller)} at ${time}: ${printable(promptOf(job))}`);
}

/** The same job on the model here. @throws CliError `cli/unknown-model`, NodeError `node/model` */
async function runAgain(
  receipt: Receipt,
  name: string,
  { folder, threads }: { folder: string; threads: number },
): Promise<Check[]> {
  const local = await LocalModel.open(name, { folder, threads });
  try {
    const { hash } = local.model.record;
    if (!equalBytes(hash, receipt.job.modelHash)) {
      const detail = `the job ran on ${formatHex(receipt.job.modelHash)}, ${name} here is ${formatHex(hash)}: name it with --model`;
      return [{ name: "rerun: model", isOk: false, detail }];
    }
    const { encoded } = await local.run(receipt.job);
    return [
      { name: "rerun: model", isOk: true, detail: `${formatHex(hash)} on ${local.device}` },
      ...checkRerun(receipt, encoded),
    ];
  } finally {
    await local.close();
  }
}

function showCheck({ name, isOk, detail }: Check): void {
  const verdict = isOk ? paint("ok    ", "good") : paint("WRONG ", "bad");
  print(`${verdict} ${name}: ${printable(detail)}`);
}

function conclude(checks: readonly Check[]): number {
  const wrong = checks.filter(({ isOk }) => !isOk).map(({ name }) => name);
  if (wrong.length === 0) {
    print(
      paint("verified: the network certified this answer, and it is what the model says", "good"),
    );
    return 0;
  }
  print(paint(`not verified: ${wrong.join(", ")}`, "bad"));
  return 1;
}
