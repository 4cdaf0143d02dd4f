// From a file to a running canister: build, create if the name is new, install or upgrade if the
// code changed. Shared by `deploy` and `demo`; prints nothing.

import { createHash } from "node:crypto";
import { basename } from "node:path";
import type { HttpAgent } from "@icp-sdk/core/agent";
import type { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { equalBytes } from "gyrotron/base";
import type { CompiledModule } from "gyrotron/node";
import { buildFile } from "./build-cache.ts";
import { CandidError, explainCandidError } from "./candid/candid-error.ts";
import { encodeArguments } from "./candid/fit.ts";
import { type CandidInterface, parseInterface } from "./candid/interface.ts";
import { canisterExists, readModuleHash } from "./certified-canister.ts";
import { CliError } from "./cli-error.ts";
import type { Deployments } from "./deployments.ts";
import { createCanister, type InstallMode, installCode } from "./management.ts";

export type DeployMode = InstallMode | "auto";

/** What to deploy and where. */
export interface DeployRequest {
  readonly agent: HttpAgent;
  readonly deployments: Deployments;
  readonly dataFolder: string;
  readonly file: string;
  /** undefined: after the file. */
  readonly name: string | undefined;
  /** Candid text for the installation. */
  readonly argument: string;
  readonly mode: DeployMode;
}

/** What was done. */
export interface DeployResult {
  readonly name: string;
  readonly canister: Principal;
  readonly action: "installed" | "reinstalled" | "upgraded" | "unchanged";
  readonly module: CompiledModule;
  /** undefined if the module publishes none. */
  readonly interface: CandidInterface | undefined;
  readonly compileMs: number;
  readonly installMs: number;
}

/** Builds and deploys. Nothing on the network changes if building or the argument fails. @throws CliError, CompilerError, AgentError */
export async function deployCanister(request: DeployRequest): Promise<DeployResult> {
  const { agent, deployments, file } = request;
  const startedMs = performance.now();
  const { module, isFresh } = await buildFile(file, request.dataFolder);
  const builtMs = performance.now();
  const candid = module.candid === undefined ? undefined : parseInterface(module.candid);
  const argument = encodeInitArgument(request.argument, candid?.init);
  const name = request.name ?? defaultName(file);
  const canister = await findOrCreate(agent, deployments, name);
  const action = await chooseAction(agent, canister, module.wasm, request.mode);
  if (action !== "unchanged") {
    const mode =
      action === "installed" ? "install" : action === "upgraded" ? "upgrade" : "reinstall";
    await installCode(agent, canister, {
      wasm: module.wasm,
      argument,
      mode,
      keepsHeap: module.keepsHeap,
    });
  }
  const installMs = performance.now() - builtMs;
  const compileMs = isFresh ? builtMs - startedMs : 0;
  return { name, canister, action, module, interface: candid, compileMs, installMs };
}

/** Name of a canister after its file; `main.mo` and `index.ts` are named after their folder. */
export function defaultName(file: string): string {
  const parts = file.split(/[\\/]/).filter((part) => part !== "" && part !== ".");
  const stem = basename(file).replace(/(\.mo|\.as\.ts|\.ts|\.wasm|\.wasm\.gz)$/, "");
  const folder = parts.at(-2);
  return /^(main|index)$/i.test(stem) && folder !== undefined && folder !== ".." ? folder : stem;
}

async function findOrCreate(
  agent: HttpAgent,
  deployments: Deployments,
  name: string,
): Promise<Principal> {
  const known = deployments.get(name);
  if (known !== undefined) {
    const canister = Principal.fromText(known.id);
    if (await canisterExists(agent, canister)) return canister;
  }
  const canister = await createCanister(agent);
  deployments.set(name, { id: canister.toText() });
  return canister;
}

async function chooseAction(
  agent: HttpAgent,
  canister: Principal,
  wasm: Uint8Array,
  mode: DeployMode,
): Promise<DeployResult["action"]> {
  if (mode === "install") return "installed";
  if (mode === "reinstall") return "reinstalled";
  if (mode === "upgrade") return "upgraded";
  const installed = await readModuleHash(agent, canister);
  if (installed === undefined) return "installed";
  const isSame = equalBytes(installed, createHash("sha256").update(wasm).digest());
  return isSame ? "unchanged" : "upgraded";
}

function encodeInitArgument(text: string, types: readonly IDL.Type[] | undefined): Uint8Array {
  try {
    return encodeArguments(text, types);
  } catch (error) {
    if (!(error instanceof CandidError)) throw error;
    const problem = explainCandidError(error, text);
    throw new CliError(
      { code: "cli/argument", what: "the installation (--arg)", problem },
      { cause: error },
    );
  }
}
