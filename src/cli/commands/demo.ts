// `gyrotron demo` (what `npm start` runs): a node, a canister compiled and installed on it, and a
// call to it as any ICP client would make it, with the certificate checked.

import { existsSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { AnonymousIdentity, type HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import type { Principal } from "@icp-sdk/core/principal";
import { printReply } from "../candid/print.ts";
import type { Command } from "../command.ts";
import { type DeployResult, deployCanister } from "../deploy-canister.ts";
import { Deployments } from "../deployments.ts";
import { showWarnings } from "../diagnostics.ts";
import { DEFAULT_DATA, DEFAULT_PORT, readAddress, readFlags } from "../flags.ts";
import { createAgent } from "../node-client.ts";
import { paint, print } from "../output.ts";
import { type RunningNode, runNode } from "../run-node.ts";
import { showReady } from "./start.ts";

const EXAMPLE = "../../../examples/counter/main.mo";

export const demo: Command = {
  usage: "demo [--once] [--port PORT] [--host ADDRESS] [--data FOLDER]",
  summary:
    "Starts a node, deploys the example canister, calls it and checks the answer's certificate.",
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
      await showCanister(node, dataFolder);
    } catch (error) {
      node.stop();
      await node.ended;
      throw error;
    }
    if (flags.isSet("once")) node.stop();
    else showNextSteps(node);
    return node.ended;
  },
};

async function showCanister(node: RunningNode, dataFolder: string): Promise<void> {
  const agent = await createAgent(node.url, new AnonymousIdentity());
  const file = fileURLToPath(new URL(EXAMPLE, import.meta.url));
  const result = await deployCanister({
    agent,
    deployments: new Deployments(dataFolder),
    dataFolder,
    file,
    name: undefined,
    argument: "()",
    mode: "auto",
  });
  showWarnings(result.module.warnings);
  showDeployment(result, displayPath(file));
  await showCall(agent, result.canister, "increment", IDL.encode([], []), [IDL.Nat]);
  await showCall(agent, result.canister, "greet", IDL.encode([IDL.Text], ["world"]), [IDL.Text]);
}

function showDeployment(result: DeployResult, file: string): void {
  const compiled =
    result.compileMs > 0 ? `compiled in ${(result.compileMs / 1000).toFixed(1)} s, ` : "";
  const how =
    result.action === "unchanged"
      ? "as it was"
      : `${result.action} in ${Math.round(result.installMs)} ms`;
  print(`${paint(result.name, "strong")} ${result.canister.toText()}: ${file} ${compiled}${how}`);
}

async function showCall(
  agent: HttpAgent,
  canister: Principal,
  methodName: string,
  arg: Uint8Array,
  types: IDL.Type[],
): Promise<void> {
  const startedMs = performance.now();
  const { reply, rawCertificate } = await agent.update(canister, { methodName, arg });
  const ms = Math.round(performance.now() - startedMs);
  const text = printReply(reply, types);
  const check = paint("certificate verified by @icp-sdk/core", "good");
  print(
    `${methodName} -> ${paint(text, "strong")}  ${check} (${rawCertificate.length} bytes, ${ms} ms)`,
  );
}

function showNextSteps(node: RunningNode): void {
  const { port } = new URL(node.url);
  const flag = Number(port) === DEFAULT_PORT ? "" : ` --port ${port}`;
  print();
  print(
    "It keeps running; what canisters print shows here. Ctrl-C stops it, the state stays. Try, in another terminal:",
  );
  for (const line of [
    `npx gyrotron canister call counter greet '("you")'${flag}`,
    `npx gyrotron canister call counter get --query${flag}`,
    `npx gyrotron canister call counter fail${flag}`,
    `npx gyrotron canister status counter${flag}`,
    `npx gyrotron help`,
  ]) {
    print(`  ${line}`);
  }
  print();
}

function displayPath(file: string): string {
  const short = relative(process.cwd(), file);
  return existsSync(short) && !short.startsWith("..") ? short : file;
}
