// What computes on this machine: the backend that `--backend` names, and what a person hears of a device that
// cannot. The bits are the same on each.

import { availableParallelism } from "node:os";
import { createWasmBackend } from "gyrotron/backend/wasm";
import { NodeError } from "gyrotron/node/models";
import {
  type Backend,
  type GraphBackend,
  TensorError,
  type TensorErrorInfo,
} from "gyrotron/tensor";
import { CliError } from "./cli-error.ts";
import { type Flags, type FlagTable, readChoice, readInteger } from "./flags.ts";
import { printProblem } from "./output.ts";

const BACKENDS = ["wasm", "native", "webgpu", "oracle"] as const;
/** Those whose threads can be chosen. */
const THREADED: readonly string[] = ["wasm", "native"];

/** A backend that a machine may have. */
export type BackendName = (typeof BACKENDS)[number];

/** The backend that was asked for. */
export interface BackendChoice {
  /** `wasm` if absent. */
  readonly backend?: BackendName;
  /** Of the wasm and native backends: change speed only. */
  readonly threads: number;
}

/** Flags that choose it. */
export const BACKEND_FLAGS = {
  backend: { type: "string" },
  threads: { type: "string" },
} as const satisfies FlagTable;

/** Most threads that these backends take. */
export const THREADS_MAX = 64;

/** Threads where none are asked for: every core, but no more than help a small model. */
const THREADS_STANDARD: number = Math.min(4, availableParallelism());

/** What help says of them. */
export const BACKEND_DETAILS: readonly string[] = [
  "--backend B      wasm (default): the CPU's; native: the CPU's, with kernels that this machine's C",
  "                 compiler makes once, some times as fast; webgpu: a GPU's, by the npm package `webgpu`;",
  "                 oracle: the slow one that the others are measured by; the bits are the same",
  `--threads N      of wasm and native; changes the speed and nothing else (every core up to 4; here ${THREADS_STANDARD})`,
];

/** Products that the oracle adds up in a second, on a machine of 2026. */
const ORACLE_RATE = 4e6;
const ORACLE_WARNING_SECONDS = 30;
const ORACLE_SECONDS_MAX = 3600;

/** `standard` threads if none are named. @throws CliError `cli/usage` on an unknown backend, or on threads of one that has none */
export function readBackend(
  flags: Flags,
  usage: string,
  standard: number = THREADS_STANDARD,
): Required<BackendChoice> {
  const backend = readChoice(flags, "backend", BACKENDS, usage);
  if (!THREADED.includes(backend) && flags.text("threads") !== undefined) {
    const problem = `--threads is for the backends wasm and native, not for ${backend}`;
    throw new CliError({ code: "cli/usage", problem, usage });
  }
  const range = { min: 1, max: THREADS_MAX, standard, usage };
  return { backend, threads: readInteger(flags, "threads", range) };
}

/** Opens it; what is not the standard is loaded only here. @throws CliError `cli/no-webgpu`; NodeError `node/native` */
export async function openBackend({
  backend = "wasm",
  threads,
}: BackendChoice): Promise<Backend & GraphBackend> {
  switch (backend) {
    case "wasm":
      return createWasmBackend({ threads });
    case "native": {
      const { openNativeBackend } = await import("gyrotron/node/native");
      return openNativeBackend({ threads, note: printProblem });
    }
    case "webgpu":
      return openWebGpu();
    case "oracle": {
      const { createReferenceBackend } = await import("gyrotron/backend");
      return createReferenceBackend();
    }
  }
}

async function openWebGpu(): Promise<Backend & GraphBackend> {
  const { createWebGpuBackend } = await import("gyrotron/backend");
  const { openWebGpuHost } = await import("./webgpu-host.ts");
  const gpu = await openWebGpuHost();
  try {
    return await createWebGpuBackend(gpu);
  } catch (error) {
    // A driver that gives no device says why in words of its own.
    const problem = error instanceof Error ? error.message : String(error);
    throw new CliError({ code: "cli/no-webgpu", problem }, { cause: error });
  }
}

/** Runs `body`; what a device says of itself becomes a reason why the model cannot run. @throws NodeError `node/model` */
export async function onDevice<T>(model: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const reason = error instanceof TensorError ? deviceReason(error.info) : undefined;
    if (reason === undefined) throw error;
    throw new NodeError({ code: "node/model", path: model, reason }, { cause: error });
  }
}

function deviceReason(info: TensorErrorInfo): string | undefined {
  const elsewhere = "--backend wasm gives the same bits";
  switch (info.code) {
    case "tensor/device-memory":
      return `the ${info.backend} device has no memory left (${info.what}); ${elsewhere}`;
    case "tensor/cache-memory":
      return `${info.positions} positions take ${info.mebibytes} MiB, and ${info.leftMebibytes} MiB are left on the ${info.backend} device: take fewer with --max-tokens or --context`;
    case "tensor/device-lost":
      return `the ${info.backend} device is gone (${info.reason}); ${elsewhere}`;
    case "tensor/limit":
      return `it needs ${info.actual} ${info.what}, and the device takes ${info.limit}`;
    case "tensor/shape-mismatch":
      return `its weights are damaged (${info.what}): add the model again`;
    case "tensor/unsupported":
      return `the ${info.backend} backend does not do this: ${info.what}`;
    default:
      return undefined;
  }
}

/**
 * Says how long the oracle may take for work of so many products, if that is long.
 * @throws CliError `cli/usage` if it is hours
 */
export function checkOracleTime(multiplyAdds: bigint, usage: string): void {
  const seconds = Number(multiplyAdds) / ORACLE_RATE;
  if (seconds < ORACLE_WARNING_SECONDS) return;
  const isLong = seconds > ORACLE_SECONDS_MAX;
  const time = isLong
    ? `${(seconds / 3600).toFixed(1)} hours`
    : `${(seconds / 60).toFixed(1)} minutes`;
  const problem = `the oracle may take ${time} for this; --backend wasm gives the same bits`;
  if (!isLong) return printProblem(problem);
  throw new CliError({ code: "cli/usage", problem, usage });
}
