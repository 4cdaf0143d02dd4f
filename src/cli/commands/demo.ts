// `gyrotron demo` (what `npm start` runs): a node, a canister compiled and installed on it, and a
// call that a language model answers, made as any ICP client would make it: the answer while it is
// written, then the certified one, its price and its receipt.

import { AnonymousIdentity, type HttpAgent } from "@icp-sdk/core/agent";
import { equalBytes, formatHex, present } from "gyrotron/base";
import { showComparison, showReceipt } from "../answer-report.ts";
import { type Answer, askCanister } from "../ask-canister.ts";
import type { Command } from "../command.ts";
import { type DeployResult, deployCanister } from "../deploy-canister.ts";
import { Deployments } from "../deployments.ts";
import { showWarnings } from "../diagnostics.ts";
import { DEFAULT_DATA, DEFAULT_PORT, dataFlag, readAddress, readFlags } from "../flags.ts";
import { createAgent } from "../node-client.ts";
import { fact, paint, print, printable, printPiece } from "../output.ts";
import { type CheckedReceipt, checkEvidence } from "../receipt-check.ts";
import { fetchReceiptsOfRequest } from "../receipt-evidence.ts";
import { type RunningNode, runNode } from "../run-node.ts";
import {
  COUNTER_FILE,
  displayPath,
  STORYTELLER,
  STORYTELLER_FILE,
  STORYTELLER_METHOD,
} from "../storyteller.ts";
import { showReady } from "./start.ts";

/** What the demo asks for. */
const REQUEST = "Tell me a story about a fox and a crow";

/** Exit status of a demo that was stopped before its story was told. */
const INTERRUPTED = 130;

export const demo: Command = {
  usage: "demo [--once] [--port PORT] [--host ADDRESS] [--data FOLDER]",
  summary: "Starts a node, deploys the storyteller, asks it, and checks answer and receipt.",
  details: ["--once  ends after that; otherwise the node keeps running"],
  async run(args) {
    const text = { type: "string" } as const;
    const table = { once: { type: "boolean" }, host: text, port: text, data: text } as const;
    const flags = readFlags(args, table, this.usage);
    const dataFolder = flags.text("data") ?? DEFAULT_DATA;
    const address = readAddress(flags, this.usage);
    const node = await runNode({ ...address, dataFolder });
    try {
      showReady(node, dataFolder);
      await showStory(node, dataFolder);
    } catch (error) {
      if (node.isStopping()) return (await node.ended) || INTERRUPTED;
      node.stop();
      await node.ended;
      throw error;
    }
    if (flags.isSet("once")) node.stop();
    else showNextSteps(node, dataFolder);
    return node.ended;
  },
};

async function showStory(node: RunningNode, dataFolder: string): Promise<void> {
  const agent = await createAgent(node.url, new AnonymousIdentity());
  const result = await deployCanister({
    agent,
    deployments: new Deployments(dataFolder),
    dataFolder,
    file: STORYTELLER_FILE,
    name: STORYTELLER,
    argument: "()",
    mode: "auto",
  });
  showWarnings(result.module.warnings);
  showDeployment(result);
  print();
  print(`${paint(REQUEST, "strong")}\n`);
  const question = { canister: result.canister, method: STORYTELLER_METHOD, text: REQUEST };
  const answer = await askCanister(agent, node.url, question, (piece) =>
    printPiece(printable(piece)),
  );
  print("\n");
  showComparison(answer);
  await showProof(node, agent, result, answer);
}

function showDeployment(result: DeployResult): void {
  const compiled =
    result.compileMs > 0 ? `compiled in ${(result.compileMs / 1000).toFixed(1)} s, ` : "";
  const how =
    result.action === "unchanged"
      ? "as it was"
      : `${result.action} in ${Math.round(result.installMs)} ms`;
  const file = displayPath(STORYTELLER_FILE);
  print(`${paint(result.name, "strong")} ${result.canister.toText()}: ${file} ${compiled}${how}`);
}

/** Everything that is known of the answer besides its text. */
async function showProof(
  node: RunningNode,
  agent: HttpAgent,
  { canister }: DeployResult,
  answer: Answer,
): Promise<void> {
  const verified = paint("certificate verified by @icp-sdk/core", "good");
  fact("certified", `${verified} (${answer.certificateBytes} bytes)`);
  fact("canister", canister.toText());
  const [evidence] = await fetchReceiptsOfRequest(node.url, answer.requestId);
  const rootKeyDer = present(agent.rootKey, "the agent has fetched the root key");
  const checked = checkEvidence(present(evidence, "a delivered job has a receipt"), { rootKeyDer });
  showModel(node, checked);
  fact("backend", node.accelerator.device);
  showReceipt(checked, answer.pace);
}

function showModel({ accelerator }: RunningNode, { receipt }: CheckedReceipt): void {
  if (receipt === undefined) return;
  const { modelHash } = receipt.job;
  const model = accelerator.models.find(({ hash }) => equalBytes(hash, modelHash));
  fact("model", `${model?.name ?? "unknown"} ${formatHex(modelHash)}`);
}

function showNextSteps(node: RunningNode, dataFolder: string): void {
  const { port } = new URL(node.url);
  const portFlag = Number(port) === DEFAULT_PORT ? "" : ` --port ${port}`;
  const flags = `${portFlag}${dataFlag(dataFolder)}`;
  print();
  print(
    "It keeps running; what canisters print shows here. Ctrl-C stops it, the state stays. Try, in another terminal:",
  );
  for (const line of [
    `npx gyrotron chat "The King and the Old House"${flags}`,
    `npx gyrotron verify RECEIPT${flags}`,
    `npx gyrotron run storyteller "A story about a dog and a king"`,
    `npx gyrotron deploy ${displayPath(COUNTER_FILE)}${flags}`,
    `npx gyrotron canister call counter increment${flags}`,
    `npx gyrotron help`,
  ]) {
    print(`  ${line}`);
  }
  print();
}
