// `gyrotron chat`: asks the storyteller on a running node, shows the answer while it is written, and
// then what was certified, what it cost and the receipt. With --model it is a conversation without a node.

import { Principal } from "@icp-sdk/core/principal";
import { present } from "gyrotron/base";
import { showComparison, showReceipt } from "../answer-report.ts";
import { askCanister } from "../ask-canister.ts";
import { canisterExists } from "../certified-canister.ts";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type Flags, type FlagTable, NODE_FLAGS, readFlags } from "../flags.ts";
import { chatHere, LOCAL_CHAT_DETAILS, LOCAL_CHAT_FLAGS } from "../local-chat.ts";
import { connect, findCanister, type NodeClient } from "../node-client.ts";
import { fact, paint, print, printable, printPiece } from "../output.ts";
import { checkEvidence } from "../receipt-check.ts";
import { fetchReceiptsOfRequest, saveEvidence } from "../receipt-evidence.ts";
import { displayPath, STORYTELLER, STORYTELLER_FILE, STORYTELLER_METHOD } from "../storyteller.ts";

const ASKING_FLAGS = {
  canister: { type: "string" },
  method: { type: "string" },
  save: { type: "string" },
} as const satisfies FlagTable;

export const chat: Command = {
  usage:
    "chat TEXT [--canister CANISTER] [--method METHOD] [--save FILE], or chat --model MODEL [TEXT]",
  summary: "Asks the storyteller and checks its answer, or talks with a model on this machine.",
  details: [
    "TEXT               what the canister is asked, in quotes",
    `--canister CANISTER  name or id of another canister (${STORYTELLER})`,
    `--method METHOD      which takes a text and answers with one (${STORYTELLER_METHOD})`,
    "--save FILE          keeps the receipt and its proof for `gyrotron verify`",
    ...LOCAL_CHAT_DETAILS,
  ],
  async run(args) {
    const { usage } = this;
    const flags = readFlags(args, { ...NODE_FLAGS, ...ASKING_FLAGS, ...LOCAL_CHAT_FLAGS }, usage);
    const name = flags.text("model");
    refuseFlagsOf(name === undefined ? "local" : "node", flags, usage);
    const [question, ...surplus] = flags.positionals;
    if (surplus.length > 0) {
      throw new CliError({ code: "cli/usage", problem: "the text must be in quotes", usage });
    }
    if (name !== undefined) return chatHere(flags, { name, first: question, usage });
    if (question === undefined) {
      throw new CliError({ code: "cli/usage", problem: "a text is needed", usage });
    }
    const client = await connect(flags, this.usage);
    const canister = await findTarget(client, flags.text("canister"));
    const method = flags.text("method") ?? STORYTELLER_METHOD;
    return showAnswer(client, { canister, method, text: question }, flags.text("save"));
  },
};

/** Flags that say how another one answers would say nothing. @throws CliError `cli/usage` */
function refuseFlagsOf(other: "local" | "node", flags: Flags, usage: string): void {
  const { data: _both, ...node } = { ...NODE_FLAGS, ...ASKING_FLAGS };
  const names = Object.keys(other === "node" ? node : LOCAL_CHAT_FLAGS);
  const given = names.find((name) => flags.text(name) !== undefined);
  if (given === undefined) return;
  const problem =
    other === "node"
      ? `--${given} is for canisters on a node, and --model talks without one`
      : `the node answers, with its own model and device: --${given} needs --model`;
  throw new CliError({ code: "cli/usage", problem, usage });
}

async function showAnswer(
  { agent, url }: NodeClient,
  question: { canister: Principal; method: string; text: string },
  file: string | undefined,
): Promise<number> {
  print(`${paint(question.text, "strong")}\n`);
  let hasText = false;
  const show = (piece: string): void => {
    hasText = true;
    printPiece(printable(piece));
  };
  const answer = await askCanister(agent, url, question, show).catch((error: unknown) => {
    if (hasText) print("\n\nThe answer broke off here; the node may still complete the call.");
    throw error;
  });
  print("\n");
  showComparison(answer);
  const verified = paint("verified by @icp-sdk/core", "good");
  fact("certificate", `${verified} (${answer.certificateBytes} bytes)`);
  const rootKeyDer = present(agent.rootKey, "the agent has fetched the root key");
  const [evidence] = await fetchReceiptsOfRequest(url, answer.requestId);
  if (evidence === undefined) {
    fact("receipt", "none: the canister asked no language model");
    return 0;
  }
  const checked = checkEvidence(evidence, { rootKeyDer });
  showReceipt(checked, answer.pace);
  if (file !== undefined) saveEvidence(file, evidence);
  return checked.checks.every(({ isOk }) => isOk) ? 0 : 1;
}

/** The canister to ask. @throws CliError `cli/not-deployed`, `cli/unknown-canister` */
async function findTarget(client: NodeClient, name: string | undefined): Promise<Principal> {
  if (name !== undefined) return findCanister(client, name);
  const deployment = client.deployments.get(STORYTELLER);
  if (deployment !== undefined) {
    const canister = Principal.fromText(deployment.id);
    if (await canisterExists(client.agent, canister)) return canister;
  }
  const file = displayPath(STORYTELLER_FILE);
  throw new CliError({ code: "cli/not-deployed", name: STORYTELLER, url: client.url, file });
}
