// Graphs on a WebGPU device against the oracle: drawn graphs and sizes, every way to split the work, poisoned
// buffers, limits and loss. The conformance cases run in webgpu.test.ts. Skipped by name where no device
// is installed.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { type GraphBackend, type HostTensor, type RunResult, TensorError } from "gyrotron/tensor";
import { NO_WEBGPU, openDawn } from "../../../../test/gpu/hosts-fixture.ts";
import {
  f32Type,
  type GraphCase,
  type GraphDraft,
  graphCase,
  i32Type,
  i64Type,
  type Value,
} from "../../graph-cases/draft.ts";
import { createReferenceBackend } from "../../reference/index.ts";
import { findResidentFaults, placingBackend } from "../../resident-fixture.ts";
import { WebGpuDevice } from "../device.ts";
import type { Gpu } from "../gpu-interface.ts";
import { DOT_NATIVE, DOT_PLAIN } from "../wgsl/dot.ts";
import { type GraphSettings, WebGpuGraphs } from "./run.ts";

/** Drawn graphs; each is a kernel to compile. */
const CHAINS = 12;

const oracle: GraphBackend = createReferenceBackend();

if (NO_WEBGPU === undefined) declareTests();
else test("graphs on WebGPU", { skip: NO_WEBGPU }, () => {});

function declareTests(): void {
  const opened: WebGpuDevice[] = [];
  after(() => opened.forEach((device) => device.close()));
  const open = async (fill?: number): Promise<WebGpuDevice> => {
    const device = await WebGpuDevice.open(
      await openDawn<Gpu>(),
      fill === undefined ? {} : { fill },
    );
    opened.push(device);
    return device;
  };

  test("drawn chains of elementwise ops: fused, alone and by definition", async () => {
    const graphs = new WebGpuGraphs(await open(0xffff_ffff), DOT_NATIVE);
    for (let seed = 0; seed < CHAINS; seed++) {
      await agree(graphs, graphCase(`webgpu/chain/${seed}`, drawChain));
    }
  });

  test("resident tensors by their contract, and in drawn chains and products", async () => {
    const graphs = new WebGpuGraphs(await open(0xffff_ffff), DOT_NATIVE);
    assert.deepEqual(await findResidentFaults(graphs), []);
    const placing = placingBackend(graphs);
    for (let seed = 0; seed < 2; seed++) {
      await agree(placing, graphCase(`webgpu/chain/${seed}`, drawChain));
    }
    const product = graphCase("webgpu/matmul/resident", (draft) => {
      draft.matmul(draft.bfp([3, 40], 14, [-20, -3]), draft.bfp([7, 40], 8, [-20, -3], true));
    });
    for (let i = 0; i < 3; i++) await agree(placing, product);
    placing.freeAll();
  });

  test("matmuls over the edges of every tile, in bytes and words, shared and batched", async () => {
    const native = new WebGpuGraphs(await open(0x8080_8080), DOT_NATIVE);
    const plain = new WebGpuGraphs(await open(), DOT_PLAIN, { workgroupsMax: 3 });
    const sizes = [
      [1, 1, 1],
      [4, 3, 5],
      [5, 17, 33],
      [16, 16, 32],
      [33, 34, 70],
      [65, 70, 36],
    ] as const;
    const widths = [
      [14, 8],
      [8, 8],
      [14, 14],
      [16, 15],
    ] as const;
    for (const [i, [m, n, k]] of sizes.entries()) {
      // Each size with two pairs of widths, in turn.
      for (const [left, right] of [widths[i % 4]!, widths[(i + 2) % 4]!]) {
        const sample = graphCase(`webgpu/matmul/${m}x${n}x${k}/${left}x${right}`, (draft) => {
          const batch = right === 8 ? [] : [2];
          const a = draft.bfp([...batch, m, k], left, [-20, -3]);
          const b = draft.bfp([...batch, n, k], right, [-20, -3], right === 8);
          draft.matmul(a, b);
          const type = i64Type([...batch, m, n]);
          if (i === 2) draft.node({ op: "matmul-grid" }, [a, b, draft.i32([], [-24])], type);
        });
        await agree(i % 2 === 0 ? native : plain, sample);
      }
    }
  });

  test("threads of a row and the shape of a dispatch change no bit", async () => {
    const settings: GraphSettings[] = [
      { rowWorkgroup: 1, workgroupsMax: 2 },
      { rowWorkgroup: 19 },
      { rowWorkgroup: 256, workgroupsMax: 5 },
    ];
    const device = await open(0x7fc0_0001);
    for (const setting of settings) {
      const graphs = new WebGpuGraphs(device, DOT_PLAIN, setting);
      for (const sample of [
        graphCase("webgpu/rows", drawRows),
        graphCase("webgpu/moves", drawMoves),
      ]) {
        await agree(graphs, sample);
      }
    }
  });

  test("long rows are sorted", async () => {
    await agree(
      new WebGpuGraphs(await open(0x3c3c_3c3c), DOT_NATIVE),
      graphCase("webgpu/long", drawLong),
    );
  });

  test("runs at the same time, again and again, share the device", async () => {
    const device = await open();
    const graphs = new WebGpuGraphs(device, DOT_NATIVE);
    const samples = [0, 1, 2].map((seed) => graphCase(`webgpu/chain/${seed}`, drawChain));
    const expected = await Promise.all(
      samples.map(({ graph, inputs }) => oracle.runGraph(graph, inputs)),
    );
    for (let round = 0; round < 5; round++) {
      const found = await Promise.all(
        samples.map(({ graph, inputs }) => graphs.runGraph(graph, inputs)),
      );
      assert.deepEqual(found.map(textOf), expected.map(textOf));
    }
    const before = device.dispatches;
    const { graph, inputs } = samples[0]!;
    await graphs.runGraph(graph, inputs);
    assert.equal(device.dispatches - before, await graphs.countDispatches(graph));
  });

  test("values too large for the device are refused, a lost device is reported", async () => {
    const device = await open();
    const graphs = new WebGpuGraphs(device, DOT_NATIVE);
    const huge = graphCase("webgpu/huge", (draft) => {
      draft.broadcast(draft.f32([1, 1]), [2 ** 16, 2 ** 15 - 1]);
    });
    assert.equal(await codeOf(() => graphs.runGraph(huge.graph, huge.inputs)), "tensor/limit");
    const { graph, inputs } = graphCase("webgpu/chain/0", drawChain);
    await graphs.runGraph(graph, inputs);
    device.lose("pulled out");
    assert.equal(await codeOf(() => graphs.runGraph(graph, inputs)), "tensor/device-lost");
  });
}

/** Plain and traced runs give what the oracle gives. */
async function agree(graphs: GraphBackend, { id, graph, inputs }: GraphCase): Promise<void> {
  const expected = await oracle.runGraph(graph, inputs, { trace: true });
  const traced = await graphs.runGraph(graph, inputs, { trace: true });
  assert.equal(textOf(traced), textOf(expected), `${id}, traced`);
  const plain = await graphs.runGraph(graph, inputs);
  const outputs: RunResult =
    expected.failure === undefined ? { ...expected, trace: undefined } : expected;
  assert.equal(textOf(plain), textOf(outputs), id);
}

/** Text of a result that tells every bit apart. */
function textOf(result: RunResult): string {
  if (result.failure !== undefined) return JSON.stringify(result.failure);
  const values = [...Object.values(result.outputs), ...(result.trace ?? [])];
  return values.map(tensorText).join("\n");
}

function tensorText(value: HostTensor): string {
  const { data } = value;
  const words = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const rest = value.element === "bfp" ? `${value.exponents.join()}/${value.scales?.join()}` : "";
  return `${value.element} ${value.shape.join()}: ${words.join()} ${rest}`;
}

const UNARY = [
  "neg",
  "abs",
  "tanh",
  "sigmoid",
  "erf",
  "gelu",
  "gelu-tanh",
  "silu",
  "relu",
] as const;
const FAILING = ["sqrt", "rsqrt", "exp", "exp2", "log"] as const;
const BINARY = ["add", "sub", "mul", "min", "max", "div"] as const;

/** A graph of elementwise ops on odd sizes with values of all kinds; some fail. */
function drawChain(draft: GraphDraft): void {
  const shape = [draft.draw.integer(1, 3), draft.draw.integer(1, 2), draft.draw.integer(1, 9)];
  const bits = (count: number): Float32Array =>
    Float32Array.from({ length: count }, () => {
      const kind = draft.draw.integer(0, 5);
      if (kind === 0) return 0;
      // Mostly near 1, sometimes anywhere.
      const power = kind === 1 ? draft.draw.integer(-140, 120) : draft.draw.integer(-6, 3);
      return Math.fround((draft.draw.integer(-4095, 4095) / 4096) * 2 ** power) + 0;
    });
  const count = shape.reduce((product, size) => product * size, 1);
  const row = shape.with(0, 1);
  const values: Value[] = [
    draft.f32(shape, bits(count)),
    draft.f32(shape, bits(count)),
    draft.broadcast(draft.f32(row, bits(count / shape[0]!)), shape),
    draft.broadcast(draft.f32([1, 1, 1], bits(1)), shape),
  ];
  const masks: Value[] = [];
  for (let i = 0; i < 8; i++) {
    const pick = () => values[draft.draw.integer(0, values.length - 1)]!;
    const kind = draft.draw.integer(0, 9);
    if (kind < 3) values.push(draft.like({ op: UNARY[draft.draw.integer(0, 8)]! }, pick()));
    else if (kind === 3)
      values.push(draft.like({ op: FAILING[draft.draw.integer(0, 4)]! }, pick()));
    else if (kind < 8) {
      values.push(draft.like({ op: BINARY[draft.draw.integer(0, 5)]! }, pick(), pick()));
    } else if (kind === 8 || masks.length === 0) {
      masks.push(draft.node({ op: "less" }, [pick(), pick()], { element: "bool", shape }));
    } else {
      values.push(draft.node({ op: "select" }, [masks.at(-1)!, pick(), pick()], f32Type(shape)));
    }
  }
  draft.like({ op: "neg" }, values.at(-1)!);
}

/** Every op with a workgroup for each row, on rows longer than a workgroup. */
function drawRows(draft: GraphDraft): void {
  const x = draft.f32([3, 70]);
  const reduced = f32Type([3]);
  for (const op of ["sum", "mean"] as const) draft.node({ op, bits: 24 }, [x], reduced);
  draft.node({ op: "variance", bits: 16 }, [x], reduced);
  draft.node({ op: "reduce-max" }, [x], reduced);
  draft.node({ op: "argmax" }, [x], i32Type([3]));
  draft.node({ op: "top-k" }, [x], i32Type([3, 7]));
  draft.like({ op: "rms-norm", epsilon: 2 ** -10 }, x);
  draft.like({ op: "layer-norm", epsilon: 2 ** -10 }, x);
  draft.like({ op: "softmax", causal: true }, x);
  draft.like({ op: "log-softmax" }, x);
  draft.quantize(x, 8);
  draft.quantize(x, 13);
  draft.quantize(x, 16);
  draft.pack(x, 14);
  const keys = draft.i32([3, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  for (const [topK, topP] of [
    [0, 65536],
    [20, 40000],
  ] as const) {
    draft.node({ op: "sample", temperature: 65536, topK, topP }, [x, keys], i32Type([3]));
  }
}

/** Rows too long to be ranked by counting, with values that repeat. */
function drawLong(draft: GraphDraft): void {
  const values = Float32Array.from({ length: 2 * 4099 }, () => draft.draw.integer(-900, 900));
  draft.node({ op: "top-k" }, [draft.f32([2, 4099], values)], i32Type([2, 300]));
}

/** Ops that move and gather, with indices that repeat. */
function drawMoves(draft: GraphDraft): void {
  const x = draft.f32([5, 6, 3]);
  draft.transpose(x, 2, 0, 1);
  const indices = draft.i32([7], [0, 4, 4, 1, 0, 4, 2]);
  const rows = draft.node({ op: "gather" }, [x, indices], f32Type([7, 6, 3]));
  const flat = draft.reshape(rows, [7, 18]);
  draft.node({ op: "scatter-add" }, [flat, indices], f32Type([5, 18]));
  const packed = draft.quantize(x, 14);
  const moved = draft.transpose(packed, 1, 0, 2);
  draft.node({ op: "dequantize" }, [moved], f32Type([6, 5, 3]));
  draft.node({ op: "concat", axis: 0 }, [packed, packed], { ...packed.type, shape: [10, 6, 3] });
}

async function codeOf(body: () => Promise<unknown>): Promise<string> {
  try {
    await body();
    return "no error";
  } catch (error) {
    return error instanceof TensorError ? error.info.code : String(error);
  }
}
