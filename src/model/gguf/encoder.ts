// An encoder of BERT's kind from a GGUF file (architecture `bert`). Such files do not name the activation, which is
// BERT's own, nor whether vectors are scaled to length 1, which they are where nothing else is said.

import type { ByteSource } from "../byte-source.ts";
import {
  checkEncoder,
  ENCODER_LIMITS,
  type EncoderLayer,
  type EncoderSettings,
  type EncoderSource,
  type Pooling,
  type SourceLinear,
  type SourceNorm,
} from "../encoder/encoder-source.ts";
import { ModelError } from "../error.ts";
import { lazyLayer } from "../lazy-layer.ts";
import type { GgufHeader } from "./container.ts";
import { GgufTensors } from "./tensor-reader.ts";

const ARCHITECTURE = "bert";
const EPSILON_STANDARD = 1e-12;
const POOLING_STANDARD = 1;
/** Ways to make one vector of many, as the metadata numbers them. */
const POOLING_NAMES = ["none", "mean", "cls", "last", "rank"] as const;
const POOLINGS: ReadonlyMap<unknown, Pooling> = new Map([
  ["mean", "mean"],
  ["cls", "first"],
]);

/** @throws DecodeError, ModelError on a file that is damaged or that this version cannot run */
export function decodeGgufEncoder(file: ByteSource, header: GgufHeader): EncoderSource {
  const settings = decodeSettings(header);
  const { shape } = settings;
  const { width, vocabulary, context } = shape;
  const tensors = new GgufTensors(file, header);
  const rowsOf = (name: string): number => header.tensors.get(name)?.shape[1] ?? 1;
  const table = (name: string, vocabulary: number): ReturnType<GgufTensors["expectRows"]> =>
    tensors.expectRows(name, { vocabulary, width });
  const tokens = table("token_embd.weight", vocabulary);
  const positions = table("position_embd.weight", rowsOf("position_embd.weight"));
  const segments = table("token_types.weight", rowsOf("token_types.weight"));
  const embeddingNorm = normOf(tensors, "token_embd_norm", width);
  const layers = Array.from({ length: shape.layers }, (_, i) => readLayer(tensors, i, shape));
  tensors.finish();
  if (positions.vocabulary < context) {
    throw new ModelError({
      ...{ code: "model/tensor-shape", name: "position_embd.weight" },
      ...{ expected: `${context} x ${width}`, actual: `${positions.vocabulary} x ${width}` },
    });
  }
  return {
    ...settings,
    tokens: tokens.rows(0, vocabulary),
    positions: positions.rows(0, context),
    segment: segments.rows(0, 1),
    embeddingNorm: embeddingNorm(),
    layers,
  };
}

function decodeSettings({ metadata, tensors }: GgufHeader): EncoderSettings {
  const architecture = metadata.get("general.architecture") ?? "missing";
  if (architecture !== ARCHITECTURE)
    unsupported(`general.architecture ${shown(architecture)} as an encoder; bert runs`);
  const valueOf = (key: string): unknown => metadata.get(`${ARCHITECTURE}.${key}`);
  const number = (key: string, fallback?: number): number => {
    const value = valueOf(key) ?? fallback ?? "missing";
    return typeof value === "number"
      ? value
      : unsupported(`${ARCHITECTURE}.${key} is ${shown(value)}`);
  };
  if ((valueOf("attention.causal") ?? false) !== false)
    unsupported("an encoder whose tokens see only those before them");
  const heads = number("attention.head_count");
  if (number("attention.head_count_kv", heads) !== heads) unsupported("grouped heads");
  const pooling = number("pooling_type", POOLING_STANDARD);
  const name = POOLING_NAMES[pooling] ?? String(pooling);
  const settings: EncoderSettings = {
    shape: {
      width: number("embedding_length"),
      hidden: number("feed_forward_length"),
      layers: number("block_count"),
      heads,
      vocabulary: tensors.get("token_embd.weight")?.shape[1] ?? 1,
      context: Math.min(number("context_length"), ENCODER_LIMITS.context),
    },
    epsilon: number("attention.layer_norm_epsilon", Math.fround(EPSILON_STANDARD)),
    activation: "gelu",
    pooling: POOLINGS.get(name) ?? unsupported(`pooling by ${name}`),
    normalizes: true,
  };
  checkEncoder(settings);
  return settings;
}

/** Matrices are read when they are asked for, so that never two are held. */
function readLayer(
  tensors: GgufTensors,
  index: number,
  { width, hidden }: { width: number; hidden: number },
): EncoderLayer {
  const linear = (name: string, outputs: number, inputs: number): (() => SourceLinear) =>
    linearOf(tensors, `blk.${index}.${name}`, [outputs, inputs]);
  const norm = (name: string): (() => SourceNorm) => normOf(tensors, `blk.${index}.${name}`, width);
  return lazyLayer<EncoderLayer>({
    query: linear("attn_q", width, width),
    key: linear("attn_k", width, width),
    value: linear("attn_v", width, width),
    attentionOutput: linear("attn_output", width, width),
    attentionNorm: norm("attn_output_norm"),
    up: linear("ffn_up", hidden, width),
    down: linear("ffn_down", width, hidden),
    outputNorm: norm("layer_output_norm"),
  });
}

function linearOf(
  tensors: GgufTensors,
  name: string,
  shape: readonly [number, number],
): () => SourceLinear {
  const weight = tensors.expect(`${name}.weight`, shape);
  const bias = tensors.expect(`${name}.bias`, [shape[0]]);
  return () => ({ weight: weight(), bias: bias() });
}

function normOf(tensors: GgufTensors, name: string, width: number): () => SourceNorm {
  const gain = tensors.expect(`${name}.weight`, [width]);
  const bias = tensors.expect(`${name}.bias`, [width]);
  return () => ({ gain: gain(), bias: bias() });
}

function shown(value: unknown): string {
  return String(value).slice(0, 60);
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
