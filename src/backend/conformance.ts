// Conformance of a device: every case against the oracle, and one digest over all its results and errors.

import { formatHex, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import { type Backend, type GraphBackend, type OpResult, TensorError } from "gyrotron/tensor";
import { type CaseSet, conformanceCases } from "./cases.ts";
import { type DecoderOutcome, runDecoderCase } from "./decoder-cases.ts";
import { type GraphCase, graphCases, runGraphCase } from "./graph-cases.ts";
import { encodeGraphOutcome } from "./graph-conformance.ts";
import { sweepFunctions } from "./plain/sweep.ts";
import { createReferenceBackend } from "./reference/index.ts";

/** What a device did with the cases of a set. */
export interface ConformanceReport {
  readonly device: string;
  readonly cases: number;
  /** Names of cases whose bits differ from the oracle's; `sweep/<op>` of functions that differ from the plain ones. */
  readonly mismatches: readonly string[];
  /** SHA-256, hex, over the names and results of all cases as this device computed them. */
  readonly digest: string;
}

/** A backend of decoders, which may be one of graphs: if it is not, its graph cases are mismatches. */
export type ConformingBackend = Backend & Partial<GraphBackend>;

/** Runs a set of cases, `full` in some ten times the time of `quick`. */
export async function runConformance(
  backend: ConformingBackend,
  set: CaseSet,
): Promise<ConformanceReport> {
  const expected = await oracleResults(set);
  const results = await caseResults(backend, set);
  const swept = set === "full" && isGraphBackend(backend) ? await sweepMismatches(backend) : [];
  const differs = ({ bytes }: CaseResult, i: number): boolean =>
    !sameBytes(bytes, expected[i]!.bytes);
  return {
    device: backend.device,
    cases: results.length,
    mismatches: [...results.filter(differs).map(({ id }) => id), ...swept],
    digest: digestOf(results),
  };
}

/** The digest that a set has on every device that conforms. */
export async function expectedDigest(set: CaseSet): Promise<string> {
  return digestOf(await oracleResults(set));
}

function digestOf(results: readonly CaseResult[]): string {
  const parts = results.flatMap(({ id, bytes }) => [utf8Bytes(`${id}\0`), bytes]);
  return formatHex(sha256(...parts));
}

interface CaseResult {
  readonly id: string;
  readonly bytes: Uint8Array;
}

const oracle: Map<CaseSet, Promise<CaseResult[]>> = new Map();

/** The oracle's results, computed once. */
function oracleResults(set: CaseSet): Promise<CaseResult[]> {
  let results = oracle.get(set);
  if (results === undefined) {
    results = caseResults(createReferenceBackend(), set);
    oracle.set(set, results);
  }
  return results;
}

async function caseResults(backend: ConformingBackend, set: CaseSet): Promise<CaseResult[]> {
  const { ops, decoders } = conformanceCases(set);
  const results: CaseResult[] = [];
  for (const { id, call } of ops)
    results.push({ id, bytes: encodeOpResult(await backend.run(call)) });
  for (const sample of decoders) {
    results.push({ id: sample.id, bytes: encodeOutcome(await runDecoderCase(backend, sample)) });
  }
  for (const sample of graphCases(set === "full")) {
    results.push({ id: sample.id, bytes: await graphResult(backend, sample) });
  }
  return results;
}

/** A case that a backend cannot run counts, as bytes that no result has. */
async function graphResult(backend: ConformingBackend, sample: GraphCase): Promise<Uint8Array> {
  if (!isGraphBackend(backend)) return utf8Bytes("unsupported");
  try {
    return encodeGraphOutcome(await runGraphCase(backend, sample));
  } catch (error) {
    if (error instanceof TensorError) return utf8Bytes(error.info.code);
    throw error;
  }
}

/** Functions with other bits than the plain program on 2^20 inputs each; 2^16 where BigInt computes them. */
async function sweepMismatches(backend: Backend & GraphBackend): Promise<string[]> {
  const stride = backend.name === "oracle" ? 65536 : 4096;
  const reports = await sweepFunctions(backend, { stride, offset: stride / 2 });
  return reports.filter(({ mismatches }) => mismatches.length > 0).map(({ op }) => `sweep/${op}`);
}

function isGraphBackend(backend: ConformingBackend): backend is Backend & GraphBackend {
  return backend.runGraph !== undefined;
}

/** Canonical bytes of an op's result: a tag, then words little end first. */
export function encodeOpResult(result: OpResult): Uint8Array {
  switch (result.kind) {
    case "f32":
      return words(1, result.values);
    case "i32":
      return words(2, result.values);
    case "bfp":
      return words(3, result.rows.mantissas, result.rows.exponents);
    case "non-finite":
      return words(4, Int32Array.of(result.row));
  }
}

function encodeOutcome(outcome: DecoderOutcome): Uint8Array {
  const parts = outcome.map((sequence) =>
    "op" in sequence
      ? utf8Bytes(`non-finite ${sequence.position} ${sequence.op}`)
      : words(5, ...sequence),
  );
  const total = parts.reduce((sum, part) => sum + 4 + part.length, 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const part of parts) {
    view.setUint32(offset, part.length, true);
    bytes.set(part, offset + 4);
    offset += 4 + part.length;
  }
  return bytes;
}

function words(tag: number, ...parts: readonly (Float32Array | Int32Array)[]): Uint8Array {
  const total = parts.reduce((sum, part) => sum + 1 + part.length, 1);
  const bytes = new Uint8Array(total * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, tag, true);
  let offset = 4;
  for (const part of parts) {
    view.setUint32(offset, part.length, true);
    offset += 4;
    for (const value of part) {
      if (part instanceof Float32Array) view.setFloat32(offset, value, true);
      else view.setInt32(offset, value, true);
      offset += 4;
    }
  }
  return bytes;
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}
