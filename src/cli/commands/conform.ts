// `gyrotron conform`: whether a backend on this machine computes the bits that the specification
// demands, case by case against the oracle and as one digest against the published one; if asked for, every
// unary function on every f32.

import process from "node:process";
import {
  describeModelSignals,
  PUBLISHED_CONFORMANCE,
  runConformance,
  sweepFunctions,
  type SweepListener,
  type SweepReport,
} from "gyrotron/backend";
import type { Backend, GraphBackend } from "gyrotron/tensor";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { readChoice, readFlags } from "../flags.ts";
import { BACKEND_FLAGS, openBackend, readBackend } from "../local-backend.ts";
import { fact, paint, print, printPiece, printProblem } from "../output.ts";

/** `exhaustive` is `full` and then every unary function on every f32. */
const CASE_SETS = ["quick", "full", "exhaustive"] as const;
/** Mismatches that are listed for people; JSON has them all. */
const SHOWN_MAX = 20;

export const conform: Command = {
  usage:
    "conform [--backend wasm|native|webgpu|oracle] [--cases quick|full|exhaustive] [--threads N] [--snr] [--json]",
  summary: "Checks that this machine computes the specified bits.",
  details: [
    "--backend B   wasm (default): the CPU's; native: the CPU's, with kernels that this machine's C",
    "              compiler makes once; webgpu: a GPU's, by the npm package `webgpu`; oracle: the slow",
    "              one that the others are measured by",
    "--cases SET   quick (default), full, or exhaustive: full, and then every unary function on all",
    "              2^32 inputs, which takes about half a day and is not for the oracle",
    "--threads N   of the wasm and native backends (1)",
    "--snr         also the signal-to-noise ratio of every op of small models (not in JSON)",
    "--json        one JSON object",
  ],
  async run(args) {
    const { usage } = this;
    const text = { type: "string" } as const;
    const yes = { type: "boolean" } as const;
    const table = { ...BACKEND_FLAGS, cases: text, snr: yes, json: yes } as const;
    const flags = readFlags(args, table, usage);
    if (flags.positionals.length > 0) {
      throw new CliError({ code: "cli/usage", problem: "it takes flags only", usage });
    }
    const choice = readBackend(flags, usage, 1);
    const set = readChoice(flags, "cases", CASE_SETS, usage);
    if (set === "exhaustive" && choice.backend === "oracle") {
      const problem = "the oracle is too slow for exhaustive: that would take years";
      throw new CliError({ code: "cli/usage", problem, usage });
    }
    const backend = await openBackend(choice);
    try {
      const status = await report(backend, set, flags.isSet("json"));
      if (flags.isSet("snr") && !flags.isSet("json")) print(await describeModelSignals(backend));
      return status;
    } finally {
      await backend.close();
    }
  },
};

async function report(
  backend: Backend & GraphBackend,
  set: (typeof CASE_SETS)[number],
  asJson: boolean,
): Promise<number> {
  const caseSet = set === "quick" ? set : "full";
  const { device, cases, mismatches, digest } = await runConformance(backend, caseSet);
  const published = PUBLISHED_CONFORMANCE[caseSet];
  const isPublished = digest === published.digest && cases === published.cases;
  if (!asJson) {
    fact("device", device);
    fact("cases", `${cases} (${caseSet}), ${mismatches.length} differ from the oracle`);
    for (const id of mismatches.slice(0, SHOWN_MAX)) fact("", id, "bad");
    fact("digest", digest);
    const verdict = isPublished
      ? paint("equal to the published digest", "good")
      : paint(`the published digest is ${published.digest} (${published.cases} cases)`, "bad");
    fact("", verdict);
  }
  const sweep = set === "exhaustive" ? await sweepAll(backend, asJson) : undefined;
  const sweepConforms = sweep?.every((swept) => swept.mismatches.length === 0) ?? true;
  const conforms = mismatches.length === 0 && isPublished && sweepConforms;
  if (asJson) {
    const result = { device, set, cases, mismatches, digest, publishedDigest: published.digest };
    print(JSON.stringify({ ...result, ...(sweep && { sweep }), conforms }, undefined, 2));
  }
  return conforms ? 0 : 1;
}

/** Every unary function on every f32, with a line for each; on standard error where the result is JSON. */
function sweepAll(backend: GraphBackend, asJson: boolean): Promise<SweepReport[]> {
  return sweepFunctions(backend, { stride: 1, offset: 0 }, sweepListener(asJson));
}

function sweepListener(asJson: boolean): SweepListener {
  const isShown = !asJson && process.stdout.isTTY;
  let shown = "";
  return {
    advance: (op, share) => {
      const text = `${op} ${(share * 100).toFixed(1)} %`;
      if (!isShown || text === shown) return;
      shown = text;
      printPiece(`\r\u001b[K${text}`);
    },
    report: ({ op, inputs, mismatches }) => {
      const patterns = mismatches.map((bits) => bits.toString(16).padStart(8, "0")).join(" ");
      const verdict = patterns === "" ? "equal" : `differs, first at the bits ${patterns}`;
      if (asJson) return printProblem(`${op}: ${inputs} inputs, ${verdict}`);
      if (isShown) printPiece("\r\u001b[K");
      fact(op, `${inputs} inputs, ${paint(verdict, patterns === "" ? "good" : "bad")}`);
    },
  };
}
