// Operations that should be bound by memory: norms of many rows, and attention of one position over a long
// cache. Each says how many bytes of operands it has, to be held against a copy of as many.

import { createHash } from "node:crypto";
import { assert } from "gyrotron/base";
import { attentionScale } from "gyrotron/numerics";
import { f32, GraphBuilder, hostF32, resolveGraph } from "gyrotron/tensor";
import { epsilonWords } from "../../src/backend/epsilon-words.ts";
import { WasmDevice } from "../../src/backend/wasm/device.ts";
import { CACHE_HEADER_BYTES, cacheBytes, type KernelCall } from "../../src/backend/wasm/layout.ts";
import { compileFor, LoadedGraph } from "../../src/backend/wasm/graph/run.ts";

/** An operation in place. */
export interface Stream {
  readonly name: string;
  /** Bytes of the operands, results not counted. */
  readonly bytes: number;
  readonly run: () => void;
  /** Of the result's bytes. */
  readonly digest: () => string;
  readonly close: () => Promise<void>;
}

/** A norm of `rows` rows of `columns` f32 as an op of a graph. */
export async function createGraphNorm(
  op: "rmsNorm" | "layerNorm",
  rows: number,
  columns: number,
): Promise<Stream> {
  const device = await WasmDevice.create({ threads: 1 });
  const g = new GraphBuilder();
  g.output("y", g[op](g.input("x", f32(rows, columns))));
  const graph = resolveGraph(g.build(), {});
  const loaded = new LoadedGraph(device, graph, compileFor(device, graph));
  loaded.write({ x: hostF32([rows, columns], normValues(rows * columns)) });
  return {
    name: `${op} of a graph, ${rows} x ${columns}`,
    bytes: rows * columns * 4,
    run: () => loaded.compute(),
    digest: () => {
      const result = loaded.read(false);
      assert(result.failure === undefined, "a norm cannot fail");
      return digestOf(result.outputs["y"]!.data as Float32Array);
    },
    close: () => device.close(),
  };
}

function normValues(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => (i % 997) - 500);
}

/** RMS norm of `rows` rows of `columns` f32. */
export async function createNorm(rows: number, columns: number): Promise<Stream> {
  const device = await WasmDevice.create({ threads: 1 });
  const x = device.place(normValues(rows * columns));
  const out = device.allocate(rows * columns * 4);
  const words = [x, columns, out, ...epsilonWords(Math.fround(1e-5))];
  return {
    name: `rms norm ${rows} x ${columns}`,
    bytes: rows * columns * 4,
    run: program(device, rows, { op: "norm", words }),
    digest: () => digestOf(device.readF32(out, rows * columns)),
    close: () => device.close(),
  };
}

/** Attention of one position over `count` positions, every head with its own K and V. */
export async function createAttention(
  heads: number,
  headSize: number,
  count: number,
): Promise<Stream> {
  const device = await WasmDevice.create({ threads: 1 });
  device.reserveScratch(count * 6 + 64);
  const shape = { layers: 1, kvHeads: heads, padded: headSize, capacity: count };
  const cache = device.allocate(cacheBytes(shape));
  const mantissas = heads * count * headSize * 2;
  const filled = Int16Array.from({ length: mantissas }, (_, i) => ((i * 7919) % 8191) - 4095);
  device.setWord(cache, count);
  device.write(cache + CACHE_HEADER_BYTES, filled);
  const exponents = Int32Array.from({ length: 2 * heads * count }, (_, i) => -14 - (i % 3));
  device.write(cache + CACHE_HEADER_BYTES + mantissas * 2, exponents);
  device.setWord(device.control("positions"), device.place(Uint32Array.of(count - 1)));
  device.setWord(device.control("caches"), device.place(Uint32Array.of(cache)));
  const q = device.place(filled.slice(0, heads * headSize));
  const qExponents = device.place(new Int32Array(heads).fill(-12));
  const out = device.allocate(heads * headSize * 4);
  const { mantissa, exponent } = attentionScale(headSize);
  const words = [q, qExponents, heads, heads, headSize, headSize, mantissa, exponent, out, 0];
  return {
    name: `attention, ${heads} heads of ${headSize}, ${count} positions`,
    bytes: mantissas * 2 + exponents.byteLength,
    run: program(device, 1, { op: "attend", words }),
    digest: () => digestOf(device.readF32(out, heads * headSize)),
    close: () => device.close(),
  };
}

function program(
  device: WasmDevice,
  rows: number,
  call: Pick<KernelCall, "op" | "words">,
): () => void {
  const count = device.control("rows");
  const status = device.allocate(rows * 4);
  device.resetStatus(status, rows);
  device.setWord(count, rows);
  const address = device.placeProgram([{ ...call, rows: count, status }]);
  return () => device.run(address, 1);
}

function digestOf(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}
