// A decoder from a GGUF file: settings from the metadata, tensors on demand. Vectors that not every model of an
// architecture has are those that the first layer has.

import { designHas, type LayerVector, layerVectorSizes, LLAMA_DESIGN } from "gyrotron/tensor";
import type { ByteSource } from "../byte-source.ts";
import { ModelError } from "../error.ts";
import { lazyLayer, type LayerReaders } from "../lazy-layer.ts";
import {
  LAYER_MATRICES,
  type LayerMatrix,
  type ModelSource,
  type SourceLayer,
} from "../model-source.ts";
import type { GgufHeader } from "./container.ts";
import { decodeGgufSettings } from "./settings.ts";
import { GgufTensors } from "./tensor-reader.ts";

type Shape = ModelSource["shape"];

/** @throws DecodeError, ModelError on a file that is damaged or that this version cannot run */
export function decodeGgufModel(file: ByteSource, header: GgufHeader): ModelSource {
  const tensors = new GgufTensors(file, header);
  const { settings, architecture } = decodeGgufSettings(header, readDivisors(tensors, header));
  const { shape, design = LLAMA_DESIGN } = settings;
  const { width, layers, vocabulary, context } = shape;
  const isGpt2 = architecture === "gpt2";
  const vectors = vectorsIn(tensors).filter((name) => designHas(design, name));
  if (architecture === "qwen3" && !(vectors.includes("queryGain") && vectors.includes("keyGain")))
    throw new ModelError({ code: "model/tensor-missing", name: "blk.0.attn_q_norm.weight" });
  const all = Array.from({ length: layers }, (_, i) => {
    const own = vectorReaders(tensors, i, shape, vectors);
    const parts = isGpt2 ? gpt2Layer(tensors, i, shape) : llamaLayer(tensors, i, shape);
    return lazyLayer<SourceLayer>({ ...parts, ...own });
  });
  const embedding = tensors.expectRows("token_embd.weight", { vocabulary, width });
  const rows = header.tensors.get("position_embd.weight")?.shape[1] ?? context;
  const positions =
    design.positions === "learned"
      ? tensors.expectRows("position_embd.weight", { vocabulary: rows, width })
      : undefined;
  if (positions !== undefined && rows < context)
    throw new ModelError({
      ...{ code: "model/tensor-shape", name: "position_embd.weight" },
      ...{ expected: `${context} x ${width}`, actual: `${rows} x ${width}` },
    });
  const finalGain = tensors.expect("output_norm.weight", [width]);
  const finalNormBias =
    design.norm === "layer" ? tensors.expect("output_norm.bias", [width])() : undefined;
  const classifier = tensors.has("output.weight")
    ? tensors.expectRows("output.weight", { vocabulary, width })
    : undefined;
  const source: ModelSource = {
    ...settings,
    layers: all,
    embedding,
    ...(positions !== undefined && { positions: { ...positions, vocabulary: context } }),
    ...(finalNormBias !== undefined && { finalNormBias }),
    get finalGain() {
      return finalGain();
    },
    classifier,
  };
  tensors.finish();
  return source;
}

/** The divisors of rotary frequencies that files of Llama 3 carry. */
function readDivisors(tensors: GgufTensors, header: GgufHeader): Float32Array | undefined {
  const count = header.tensors.get("rope_freqs.weight")?.count;
  return count === undefined ? undefined : tensors.expect("rope_freqs.weight", [count])();
}

/** Names behind `blk.I.`. */
const VECTOR_NAMES: Readonly<Record<LayerVector, string>> = {
  attentionNormBias: "attn_norm.bias",
  queryBias: "attn_q.bias",
  keyBias: "attn_k.bias",
  valueBias: "attn_v.bias",
  queryGain: "attn_q_norm.weight",
  keyGain: "attn_k_norm.weight",
  attentionOutputBias: "attn_output.bias",
  feedForwardNormBias: "ffn_norm.bias",
  gateBias: "ffn_gate.bias",
  upBias: "ffn_up.bias",
  downBias: "ffn_down.bias",
};

function vectorsIn(tensors: GgufTensors): LayerVector[] {
  const names = Object.keys(VECTOR_NAMES) as LayerVector[];
  return names.filter((name) => tensors.has(`blk.0.${VECTOR_NAMES[name]}`));
}

function vectorReaders(
  tensors: GgufTensors,
  layer: number,
  shape: Shape,
  vectors: readonly LayerVector[],
): Partial<LayerReaders<SourceLayer>> {
  const sizes = layerVectorSizes(shape);
  const readers = vectors.map((name) => {
    return [name, tensors.expect(`blk.${layer}.${VECTOR_NAMES[name]}`, [sizes[name]])] as const;
  });
  return Object.fromEntries(readers);
}

function llamaLayer(tensors: GgufTensors, layer: number, shape: Shape): LayerReaders<SourceLayer> {
  const { width, hidden, heads, kvHeads, headSize } = shape;
  const [attended, keys] = [heads * headSize, kvHeads * headSize];
  const nameOf = (name: string): string => `blk.${layer}.${name}.weight`;
  const matrices: Readonly<Record<LayerMatrix, readonly [string, readonly [number, number]]>> = {
    query: ["attn_q", [attended, width]],
    key: ["attn_k", [keys, width]],
    value: ["attn_v", [keys, width]],
    attentionOutput: ["attn_output", [width, attended]],
    gate: ["ffn_gate", [hidden, width]],
    up: ["ffn_up", [hidden, width]],
    down: ["ffn_down", [width, hidden]],
  };
  const read = (name: LayerMatrix): (() => Float32Array) => {
    const [tensor, size] = matrices[name];
    return tensors.expect(nameOf(tensor), size);
  };
  const levels = levelsOf(
    LAYER_MATRICES.map((name) => {
      const [tensor, size] = matrices[name];
      return [name, tensors.expectLevels(nameOf(tensor), size)] as const;
    }),
  );
  return {
    attentionGain: tensors.expect(nameOf("attn_norm"), [width]),
    feedForwardGain: tensors.expect(nameOf("ffn_norm"), [width]),
    ...{ query: read("query"), key: read("key"), value: read("value") },
    attentionOutput: read("attentionOutput"),
    ...{ gate: read("gate"), up: read("up"), down: read("down") },
    levels: () => levels,
  };
}

type LevelReaders = NonNullable<SourceLayer["levels"]>;

/** Those that there are. */
function levelsOf(
  readers: readonly (readonly [LayerMatrix, LevelReaders[LayerMatrix]])[],
): LevelReaders {
  return Object.fromEntries(readers.filter(([, reader]) => reader !== undefined));
}

/** Q, K and V are the rows of one tensor. */
function gpt2Layer(tensors: GgufTensors, layer: number, shape: Shape): LayerReaders<SourceLayer> {
  const { width, hidden } = shape;
  const expect = (name: string, ...size: readonly number[]): (() => Float32Array) =>
    tensors.expect(`blk.${layer}.${name}`, size);
  const fused = tensors.expectRows(`blk.${layer}.attn_qkv.weight`, {
    vocabulary: 3 * width,
    width,
  });
  const fusedBias = expect("attn_qkv.bias", 3 * width);
  const third = (i: number) => (): Float32Array => fused.rows(i * width, width);
  const levels = (
    name: string,
    [outputs, inputs]: readonly [number, number],
    part?: { first: number; outputs: number },
  ): LevelReaders[LayerMatrix] =>
    tensors.expectLevels(`blk.${layer}.${name}.weight`, [outputs, inputs], part);
  const thirdLevels = (i: number): LevelReaders[LayerMatrix] =>
    levels("attn_qkv", [3 * width, width], { first: i * width, outputs: width });
  const all = levelsOf([
    ...(["query", "key", "value"] as const).map((name, i) => [name, thirdLevels(i)] as const),
    ["attentionOutput", levels("attn_output", [width, width])],
    ["up", levels("ffn_up", [hidden, width])],
    ["down", levels("ffn_down", [width, hidden])],
  ]);
  const thirdBias = (i: number) => (): Float32Array =>
    fusedBias().slice(i * width, (i + 1) * width);
  return {
    attentionGain: expect("attn_norm.weight", width),
    attentionNormBias: expect("attn_norm.bias", width),
    query: third(0),
    key: third(1),
    value: third(2),
    queryBias: thirdBias(0),
    keyBias: thirdBias(1),
    valueBias: thirdBias(2),
    attentionOutput: expect("attn_output.weight", width, width),
    feedForwardGain: expect("ffn_norm.weight", width),
    feedForwardNormBias: expect("ffn_norm.bias", width),
    up: expect("ffn_up.weight", hidden, width),
    down: expect("ffn_down.weight", width, hidden),
    levels: () => all,
  };
}
