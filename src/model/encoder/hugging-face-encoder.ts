// An encoder of BERT's kind as Hugging Face stores it: JSON files and one safetensors file. Tensors may have the
// prefix `bert.` of models with a head, which is left out with the pooler: neither takes part in embeddings.

import { TensorReader } from "../hugging-face.ts";
import { Safetensors } from "../safetensors.ts";
import { decodeEncoderConfig, type EncoderConfigFiles } from "./encoder-settings.ts";
import type { EncoderLayer, EncoderSource, SourceLinear, SourceNorm } from "./encoder-source.ts";

/** The files of an encoder. */
export interface EncoderFiles extends EncoderConfigFiles {
  readonly tensors: Uint8Array;
}

const PREFIX = "bert.";
/** What does not take part: heads, and indices that follow from the shape. */
const UNUSED = /^(bert\.)?(pooler\.|embeddings\.(position_ids|token_type_ids)$)|^cls\./;

/** @throws DecodeError, ModelError on files that are damaged, do not fit together or cannot run here */
export function decodeHuggingFaceEncoder(files: EncoderFiles): EncoderSource {
  const { settings, positions, segments } = decodeEncoderConfig(files);
  const { width, layers, vocabulary, context } = settings.shape;
  const file = new Safetensors(files.tensors);
  const reader = new EncoderTensors(file);
  const table = reader.read("embeddings.position_embeddings.weight", [positions, width]);
  const types = reader.read("embeddings.token_type_embeddings.weight", [segments, width]);
  const source: EncoderSource = {
    ...settings,
    tokens: reader.read("embeddings.word_embeddings.weight", [vocabulary, width]),
    positions: table.slice(0, context * width),
    segment: types.slice(0, width),
    embeddingNorm: reader.norm("embeddings.LayerNorm", width),
    layers: Array.from({ length: layers }, (_, i) => readLayer(reader, i, settings.shape)),
  };
  reader.finish();
  return source;
}

function readLayer(
  reader: EncoderTensors,
  index: number,
  { width, hidden }: { width: number; hidden: number },
): EncoderLayer {
  const at = `encoder.layer.${index}`;
  return {
    query: reader.linear(`${at}.attention.self.query`, width, width),
    key: reader.linear(`${at}.attention.self.key`, width, width),
    value: reader.linear(`${at}.attention.self.value`, width, width),
    attentionOutput: reader.linear(`${at}.attention.output.dense`, width, width),
    attentionNorm: reader.norm(`${at}.attention.output.LayerNorm`, width),
    up: reader.linear(`${at}.intermediate.dense`, hidden, width),
    down: reader.linear(`${at}.output.dense`, width, hidden),
    outputNorm: reader.norm(`${at}.output.LayerNorm`, width),
  };
}

/** Tensors by the names that they have without a prefix. */
class EncoderTensors {
  readonly #file: Safetensors;
  readonly #reader: TensorReader;
  readonly #prefix: string;

  constructor(file: Safetensors) {
    this.#file = file;
    this.#reader = new TensorReader(file);
    this.#prefix = file.tensors.has(`${PREFIX}embeddings.word_embeddings.weight`) ? PREFIX : "";
  }

  read(name: string, shape: readonly number[]): Float32Array {
    return this.#reader.read(this.#prefix + name, shape);
  }

  linear(name: string, outputs: number, inputs: number): SourceLinear {
    return {
      weight: this.read(`${name}.weight`, [outputs, inputs]),
      bias: this.read(`${name}.bias`, [outputs]),
    };
  }

  /** The first BERT files call gain and bias gamma and beta. */
  norm(name: string, width: number): SourceNorm {
    const isOld = this.#file.tensors.has(`${this.#prefix}${name}.gamma`);
    return {
      gain: this.read(`${name}.${isOld ? "gamma" : "weight"}`, [width]),
      bias: this.read(`${name}.${isOld ? "beta" : "bias"}`, [width]),
    };
  }

  /** @throws ModelError `model/unsupported` on a tensor that takes part in something unknown */
  finish(): void {
    this.#reader.finish((name) => UNUSED.test(name));
  }
}
