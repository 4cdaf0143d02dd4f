// Vectors of texts by an encoder. Texts of one length run together; which ones do, and in which order, changes
// no bit, so a vector depends on the model and the text alone.

import { assert, present, utf8Bytes } from "gyrotron/base";
import { createSha256 } from "gyrotron/hash";
import type { HubTokenizer, PreparedEncoder } from "gyrotron/model";
import {
  type GraphBackend,
  hostI32,
  type ResidentTensors,
  resolveGraph,
  TensorError,
} from "gyrotron/tensor";
import { GenerationError } from "./error.ts";

/** The vector of a text. */
export interface TextEmbedding {
  /** `[width]`. */
  readonly vector: Float32Array;
  /** Tokens that were looked at, with those that frame the text. */
  readonly tokenCount: number;
  /** Whether the text was longer than the model's context and lost its end. */
  readonly isTruncated: boolean;
}

/** Bounds the memory of a run: values of one layer for so many tokens. */
const RUN_TOKENS_MAX = 4096;

/** An encoder with its tokenizer on a backend. */
export class TextEmbedder {
  readonly #model: PreparedEncoder;
  readonly #tokenizer: HubTokenizer;
  readonly #backend: GraphBackend;
  /** The parameters on the backend, once a text has been embedded. */
  #resident: Promise<ResidentTensors> | undefined;

  constructor(model: PreparedEncoder, tokenizer: HubTokenizer, backend: GraphBackend) {
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#backend = backend;
  }

  /**
   * The vectors of texts, in their order.
   * @throws GenerationError `learn/prompt-empty` on a text without tokens, `learn/token-unknown`; TensorError
   */
  async embed(texts: readonly string[]): Promise<TextEmbedding[]> {
    const rows = texts.map((text) => this.#encode(text));
    const vectors: (Float32Array | undefined)[] = rows.map(() => undefined);
    for (const indices of this.#runs(rows.map(({ tokens }) => tokens.length))) {
      const run = await this.#run(indices.map((i) => present(rows[i]).tokens));
      indices.forEach((index, i) => (vectors[index] = run[i]));
    }
    return rows.map(({ tokens, isTruncated }, i) => {
      return { vector: present(vectors[i]), tokenCount: tokens.length, isTruncated };
    });
  }

  /** Frees the backend's memory; the next text takes it again. */
  async close(): Promise<void> {
    const resident = this.#resident;
    this.#resident = undefined;
    (await resident)?.free();
  }

  /** Parameters are valid as prepared: checking them took longer than a run. */
  #parameters(): Promise<ResidentTensors> {
    return (this.#resident ??= this.#backend.placeTensors(this.#model.parameters));
  }

  /** Tokens of a text. The last one, which ends it, stays where the text is cut. */
  #encode(text: string): { tokens: number[]; isTruncated: boolean } {
    const { context, vocabulary } = this.#model.shape;
    const all = this.#tokenizer.encodeFramed(text);
    const last = all.at(-1);
    if (last === undefined) throw new GenerationError({ code: "learn/prompt-empty" });
    const isTruncated = all.length > context;
    const tokens = isTruncated ? [...all.slice(0, context - 1), last] : all;
    const token = tokens.find((id) => !(id >= 0 && id < vocabulary));
    if (token === undefined) return { tokens, isTruncated };
    throw new GenerationError({ code: "learn/token-unknown", token, vocabulary });
  }

  /** Indices of texts of one length, as many as may run at once. */
  #runs(lengths: readonly number[]): number[][] {
    const byLength = new Map<number, number[]>();
    lengths.forEach((length, i) => {
      const indices = byLength.get(length) ?? [];
      byLength.set(length, indices);
      indices.push(i);
    });
    return [...byLength].flatMap(([length, indices]) => {
      const fitting = Math.max(1, Math.floor(RUN_TOKENS_MAX / length));
      const size = Math.min(this.#model.batchMax, fitting);
      const count = Math.ceil(indices.length / size);
      return Array.from({ length: count }, (_, i) => indices.slice(i * size, (i + 1) * size));
    });
  }

  /** Vectors of texts of one length. */
  async #run(texts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const { graph, shape } = this.#model;
    const [batch, time] = [texts.length, present(texts[0]).length];
    const resolved = resolveGraph(graph, { batch, time });
    const tokens = hostI32([batch, time], texts.flat());
    const resident = await this.#parameters();
    const result = await this.#backend.runGraph(resolved, { tokens }, { resident });
    if (result.failure !== undefined) {
      const { kind, node, row } = result.failure;
      const { op } = present(resolved.nodes[node]);
      throw new TensorError({ code: "tensor/run-failed", kind, node, op, row });
    }
    const { embedding } = result.outputs;
    assert(embedding?.element === "f32", "the graph gives vectors");
    const { data } = embedding;
    return texts.map((_, i) => data.slice(i * shape.width, (i + 1) * shape.width));
  }
}

/** SHA-256 of a label and each vector's binary32 numbers, little end first, in order. */
export function embeddingsDigest(vectors: readonly Float32Array[]): Uint8Array {
  const hash = createSha256();
  hash.update(utf8Bytes("gyrotron embeddings 1\n"));
  for (const vector of vectors) {
    const bytes = new DataView(new ArrayBuffer(vector.length * 4));
    vector.forEach((value, i) => bytes.setFloat32(i * 4, value, true));
    hash.update(new Uint8Array(bytes.buffer));
  }
  return hash.digest();
}
