// Runs a node in this process until it is told to stop: opens the port, then the state, and shows
// what canisters print. Shared by `start` and `demo`.

import process from "node:process";
import { formatPrincipal } from "gyrotron/crypto";
import type { JobAccelerator, NetworkChoices, NodeCore, PageHandler } from "gyrotron/node";
import { Deployments } from "./deployments.ts";
import { formatUrl } from "./flags.ts";
import { checkNetworkChoices } from "./network-choices.ts";
import { paint, print, printable, printProblem } from "./output.ts";

/** Where a node listens and keeps its data. */
export interface RunOptions {
  readonly host: string;
  readonly port: number;
  readonly dataFolder: string;
  /** Models for GPU jobs; the bundled one unless given. */
  readonly modelPaths?: readonly string[];
  /** Whether jobs run on native kernels. */
  readonly isNative?: boolean;
  /** Threads that answer queries; the node decides unless given. */
  readonly queryWorkers?: number | undefined;
  /** What a new network is given, and one that exists must have. */
  readonly choices?: NetworkChoices;
}

/** A node that answers. */
export interface RunningNode {
  readonly core: NodeCore;
  /** What runs its GPU jobs. */
  readonly accelerator: JobAccelerator;
  readonly url: string;
  readonly port: number;
  /** Resolves with the exit status when the node has ended, for whatever reason. */
  readonly ended: Promise<number>;
  /** Stops the node in good order; `ended` then resolves with 0. */
  stop(): void;
  /** Whether it is being stopped, by a signal, a failure or `stop`. */
  isStopping(): boolean;
}

/** A second request to stop within this time means the same one (a terminal sends it twice). */
const REPEATED_SIGNAL_MS = 2_000;

/** Starts a node. @throws HttpServerError, StoreError, NodeError */
export async function runNode(options: RunOptions): Promise<RunningNode> {
  const { createNode, HttpServer, startAccelerator } = await import("gyrotron/node");
  const { bundledModelPath } = await import("gyrotron/node/models");
  const { host, dataFolder, modelPaths = [bundledModelPath()] } = options;
  const native = options.isNative === true ? { native: await buildKernels() } : {};
  const deployments = new Deployments(dataFolder); // fails before anything runs, if the file is damaged
  const server = await HttpServer.listen({ host, port: options.port });
  // Models are prepared while the state is opened.
  const starting = startAccelerator({ modelPaths, threads: 1, ...native });
  const cancel = (): Promise<void> => starting.then((accelerator) => accelerator.close());
  let accelerator: JobAccelerator;
  let core: NodeCore;
  try {
    [core, accelerator] = await Promise.all([
      createNode({
        dataDir: dataFolder,
        accelerator: starting,
        queryWorkers: options.queryWorkers,
        ...options.choices,
      }),
      starting,
    ]);
  } catch (error) {
    await Promise.allSettled([server.close(), cancel()]);
    throw error;
  }
  try {
    await checkNetworkChoices(core.config, options.choices ?? {});
  } catch (error) {
    await Promise.allSettled([server.close(), core.close()]);
    throw error;
  }
  server.attach(core, await openCandidPage(core));
  showConsole(core, deployments, dataFolder);
  const { promise: ended, resolve } = Promise.withResolvers<number>();
  let isStopping = false;
  const stop = (status = 0): void => {
    if (isStopping) return;
    isStopping = true;
    server
      .close()
      .then(() => core.close())
      .then(
        () => resolve(status),
        (error: unknown) => {
          printProblem(
            `the node did not stop in good order: ${error instanceof Error ? error.message : String(error)}`,
          );
          resolve(1);
        },
      );
  };
  core.onFailure((error) => {
    printProblem(`the node stopped: ${error instanceof Error ? error.message : String(error)}`);
    stop(1);
  });
  stopOnSignals(() => stop(0));
  const { port } = server;
  const url = formatUrl(host, port);
  return { core, accelerator, url, port, ended, stop: () => stop(0), isStopping: () => isStopping };
}

async function buildKernels(): Promise<string> {
  const { buildNativeKernels } = await import("gyrotron/node/native");
  return buildNativeKernels({ note: printProblem });
}

/** Loaded with the node: commands that run none do without. */
async function openCandidPage(core: NodeCore): Promise<PageHandler> {
  const { CandidPage } = await import("./candid-page/candid-page.ts");
  return new CandidPage(core);
}

/** Prints what canisters print and their traps, under their names. */
function showConsole(core: NodeCore, atStart: Deployments, dataFolder: string): void {
  let deployments = atStart;
  core.onConsole((line) => {
    const id = formatPrincipal(line.canisterId);
    if (deployments.nameOf(id) === undefined) deployments = readAgain(deployments, dataFolder);
    const name = deployments.nameOf(id) ?? id;
    const time = new Date(Number(line.timeNs / 1_000_000n)).toISOString().slice(11, 23);
    print(
      `${paint(time, "faint")} ${paint(name, "strong")} ${printable(line.text).replaceAll("\n", "\n             ")}`,
    );
  });
}

/** The names now; a file that another process has just spoilt must not end the node. */
function readAgain(known: Deployments, dataFolder: string): Deployments {
  try {
    return new Deployments(dataFolder);
  } catch {
    return known;
  }
}

/** The first signal, or the end of the launcher, stops the node in good order; a later one at once. */
function stopOnSignals(stop: () => void): void {
  let firstMs: number | undefined;
  const onSignal = (): void => {
    if (firstMs === undefined) {
      firstMs = performance.now();
      stop();
    } else if (performance.now() - firstMs > REPEATED_SIGNAL_MS) process.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  if (process.channel === undefined) return;
  process.on("disconnect", onSignal);
  process.channel?.unref();
}
