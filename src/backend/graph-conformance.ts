// What a device makes of the graph cases: canonical bytes for the digest, and for people the first place
// where its bits are others than the oracle's.

import { concatBytes, utf8Bytes } from "gyrotron/base";
import type { GraphBackend, HostTensor, RunFailure } from "gyrotron/tensor";
import { type GraphCase, type GraphOutcome, runGraphCase } from "./graph-cases.ts";
import { createReferenceBackend } from "./reference/index.ts";

/** The canonical bytes of a case's outcome: all nodes by the traced run, then outputs by the plain one. */
export function encodeGraphOutcome(outcome: GraphOutcome): Uint8Array {
  return concatBytes(
    encodeRun(outcome.failure, outcome.values),
    encodeRun(outcome.plainFailure, outcome.outputs),
  );
}

/** A line for each case whose bits are not the oracle's; `report` hears of each as it is found. */
export async function findGraphMismatches(
  backend: GraphBackend,
  cases: readonly GraphCase[],
  report: (line: string) => void = () => {},
): Promise<string[]> {
  const oracle = createReferenceBackend();
  const found: string[] = [];
  for (const sample of cases) {
    const expected = await runGraphCase(oracle, sample);
    const difference = describeDifference(sample, expected, await runGraphCase(backend, sample));
    if (difference === undefined) continue;
    found.push(`${sample.id}: ${difference}`);
    report(found.at(-1)!);
  }
  return found;
}

/** The first difference of two outcomes of a case, or undefined. */
export function describeDifference(
  { graph }: GraphCase,
  expected: GraphOutcome,
  actual: GraphOutcome,
): string | undefined {
  const failures = [
    ["traced", expected.failure, actual.failure],
    ["plain", expected.plainFailure, actual.plainFailure],
  ] as const;
  for (const [run, wanted, got] of failures) {
    if (formatFailure(wanted) === formatFailure(got)) continue;
    return `${run} run: ${formatFailure(got)}, not ${formatFailure(wanted)}`;
  }
  const computed = graph.nodes.flatMap((node, i) =>
    node.op === "input" || node.op === "constant" ? [] : [`node ${i} (${node.op})`],
  );
  const outputs = graph.outputs.map(
    ({ node }) => `output of node ${node} (${graph.nodes[node]!.op})`,
  );
  return (
    firstDifference(computed, expected.values, actual.values) ??
    firstDifference(outputs, expected.outputs, actual.outputs)
  );
}

function firstDifference(
  names: readonly string[],
  expected: readonly HostTensor[],
  actual: readonly HostTensor[],
): string | undefined {
  if (actual.length !== expected.length) {
    return `${actual.length} values for ${expected.length}`;
  }
  for (const [i, wanted] of expected.entries()) {
    const difference = describeTensorDifference(wanted, actual[i]!);
    if (difference !== undefined) return `${names[i]}, ${difference}`;
  }
  return undefined;
}

/** Where two values differ first, or undefined; bits count, so 0 is not -0. */
export function describeTensorDifference(wanted: HostTensor, got: HostTensor): string | undefined {
  const [left, right] = [typeText(wanted), typeText(got)];
  if (left !== right) return `type ${right}, not ${left}`;
  const parts = partsOf(got);
  for (const [p, part] of partsOf(wanted).entries()) {
    const other = parts[p]!;
    if (other.length !== part.length) return `${other.length} elements, not ${part.length}`;
    for (let i = 0; i < part.length; i++) {
      if (Object.is(part[i], other[i])) continue;
      const where = p === 0 ? "element" : p === 1 ? "exponent of row" : "scale of row";
      return `${where} ${i} of ${left}: ${numberText(other[i]!)}, not ${numberText(part[i]!)}`;
    }
  }
  return undefined;
}

function formatFailure(failure: RunFailure | undefined): string {
  return failure === undefined
    ? "success"
    : `${failure.kind} at node ${failure.node}, row ${failure.row}`;
}

function typeText(value: HostTensor): string {
  const width = value.element === "bfp" ? `${value.bits}${value.scales ? " scaled" : ""}` : "";
  return `${value.element}${width}[${value.shape.join(", ")}]`;
}

function numberText(value: number | bigint): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

type Part = Float32Array | Int32Array | Uint8Array | BigInt64Array;

function partsOf(value: HostTensor): Part[] {
  if (value.element !== "bfp") return [value.data];
  return [value.data, value.exponents, ...(value.scales === undefined ? [] : [value.scales])];
}

function encodeRun(failure: RunFailure | undefined, values: readonly HostTensor[]): Uint8Array {
  const text = utf8Bytes(`${formatFailure(failure)}\n`);
  return concatBytes(text, ...values.map(encodeTensor));
}

/** The type as text, a zero byte, then the elements little end first. */
function encodeTensor(value: HostTensor): Uint8Array {
  return concatBytes(utf8Bytes(`${typeText(value)}\0`), ...partsOf(value).map(littleEndian));
}

function littleEndian(part: Part): Uint8Array {
  const bytes = new Uint8Array(part.byteLength);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of part.entries()) {
    const at = i * part.BYTES_PER_ELEMENT;
    if (typeof value === "bigint") view.setBigInt64(at, value, true);
    else if (part instanceof Float32Array) view.setFloat32(at, value, true);
    else if (part instanceof Int32Array) view.setInt32(at, value, true);
    else view.setUint8(at, value);
  }
  return bytes;
}
