// A backend by another that runs every graph with part of its inputs resident, for the cases of graphs to show that
// it changes nothing; and what the contract says of such tensors.

import { present } from "gyrotron/base";
import {
  f32,
  type GraphBackend,
  GraphBuilder,
  hostF32,
  hostI32,
  i32,
  type ResidentTensors,
  type ResolvedGraph,
  resolveGraph,
  type RunInputs,
  TensorError,
} from "gyrotron/tensor";

/** Sets of tensors that are resident at once. */
const KEPT = 4;

/** A backend that places two of three inputs before each run, which ones changes from run to run. */
export interface PlacingBackend extends GraphBackend {
  /** Frees what is still resident. */
  freeAll(): void;
}

/** Sets are freed in another order than they were placed in. */
export function placingBackend(backend: GraphBackend): PlacingBackend {
  const kept: ResidentTensors[] = [];
  let runs = 0;
  return {
    placeTensors: (tensors) => backend.placeTensors(tensors),
    async runGraph(graph, inputs, options) {
      runs += 1;
      const isPlaced = (i: number): boolean => (i + runs) % 3 !== 0;
      const part = (placed: boolean): RunInputs =>
        Object.fromEntries(Object.entries(inputs).filter((_, i) => isPlaced(i) === placed));
      const resident = await backend.placeTensors(part(true));
      kept.push(resident);
      const result = await backend.runGraph(graph, part(false), { ...options, resident });
      if (kept.length > KEPT) present(kept.splice(runs % KEPT, 1)[0]).free();
      return result;
    },
    freeAll: () => kept.splice(0).forEach((resident) => resident.free()),
  };
}

/** What a backend does not keep of the contract of resident tensors: a line each. */
export async function findResidentFaults(backend: GraphBackend): Promise<string[]> {
  const faults: string[] = [];
  const expect = (what: string, found: unknown, wanted: unknown): void => {
    const [got, right] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (got !== right) faults.push(`${what}: ${got}, not ${right}`);
  };
  const run = async (ids: readonly number[], resident: ResidentTensors): Promise<number[]> => {
    const inputs = { ids: hostI32([ids.length], ids) };
    const result = await backend.runGraph(lookUp(ids.length), inputs, { resident });
    return result.failure === undefined ? Array.from(result.outputs["y"]!.data, Number) : [];
  };
  const table = Float32Array.from({ length: 15 }, (_, i) => i - 7);
  const w = hostF32([3, 2], [1, 2, 3, 4, 5, 6]);
  const resident = await backend.placeTensors({ table: hostF32([5, 3], table), w });
  table.fill(0);
  const other = await backend.placeTensors({ w: hostF32([3, 2], new Float32Array(6)) });
  expect("after the host's copy changed", await run([4, 1], resident), [58, 76, -23, -32]);
  expect("another graph", await run([1], resident), [-23, -32]);
  other.free();
  expect("after others were freed", await run([4], resident), [58, 76]);
  resident.free();
  resident.free();
  const refusal = await run([4], resident).catch((error: unknown) => error);
  expect("after free", refusal instanceof TensorError ? refusal.info : refusal, {
    code: "tensor/closed",
    what: "resident tensors",
  });
  return faults;
}

/** Rows of a table times a matrix. */
function lookUp(count: number): ResolvedGraph {
  const g = new GraphBuilder();
  const n = g.symbol("n", 8);
  const rows = g.gather(g.parameter("table", f32(5, 3)), g.input("ids", i32(n)));
  g.output("y", g.matmul(rows, g.parameter("w", f32(3, 2)), { bits: 16 }));
  return resolveGraph(g.build(), { n: count });
}
