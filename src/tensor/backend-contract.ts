// What every backend offers: single ops for conformance, and a decoder with caches for generation.
// All results are bits defined by docs/spec/01-numerics.md; a backend chooses only how fast.

import type { DecoderWeights, PackedMatrix } from "./decoder-shape.ts";

/** Rows of integers with one exponent each: `mantissas[r * columns + i] * 2^exponents[r]`. */
export interface BfpRows {
  readonly columns: number;
  readonly mantissas: Int32Array;
  readonly exponents: Int32Array;
}

/** One op on host data; shapes follow docs/spec/03-op-table.md. */
export type OpCall =
  | { op: "quantize"; x: Float32Array; columns: number; bits: number }
  | { op: "matmul"; left: BfpRows; leftBits: number; weights: PackedMatrix }
  | { op: "add" | "multiply"; left: Float32Array; right: Float32Array; columns: number }
  | { op: "embed"; table: Float32Array; columns: number; tokens: Uint32Array }
  | { op: "argmax"; x: Float32Array; columns: number }
  | { op: "rms-norm"; x: Float32Array; columns: number; epsilon: number }
  | {
      op: "rotary";
      x: Float32Array;
      heads: number;
      headSize: number;
      positions: Uint32Array;
      steps: Uint32Array;
      interleaved: boolean;
    }
  | {
      /** One query position; `queries` has a row per head, `keys` and `values` `[positions * kvHeads]` rows. */
      op: "attention";
      heads: number;
      kvHeads: number;
      headSize: number;
      queries: BfpRows;
      keys: BfpRows;
      values: BfpRows;
    }
  | { op: "silu"; x: Float32Array; columns: number };

/** The name of an op. */
export type OpName = OpCall["op"];

export const OP_NAMES: readonly OpName[] = [
  "quantize",
  "matmul",
  "add",
  "multiply",
  "embed",
  "argmax",
  "rms-norm",
  "rotary",
  "attention",
  "silu",
];

/** What an op gives: f32 or integers, or mantissas and exponents, or the first row that is not finite. */
export type OpResult =
  | { kind: "f32"; values: Float32Array }
  | { kind: "i32"; values: Int32Array }
  | { kind: "bfp"; rows: BfpRows }
  | { kind: "non-finite"; row: number };

/** The keys and values of one sequence on a device. */
export interface SequenceCache {
  /** Positions filled so far. */
  readonly length: number;
  /** Forgets positions from `length` on; a cache that failed at one of them may be used again. */
  truncate(length: number): void;
  /** A cache of its own with the first `length` positions and room for `capacity`. */
  fork(length: number, capacity: number): SequenceCache;
  /** Frees the device memory; using the cache afterwards is an error. */
  free(): void;
}

/** One position to run. Rows of one cache stand in rising order, without gaps, from its length on. */
export interface DecoderRow {
  readonly cache: SequenceCache;
  readonly token: number;
  readonly wantsLogits: boolean;
}

/** A failure of one sequence: where its first value that is not finite arose. */
export interface NonFinite {
  readonly position: number;
  readonly op: string;
}

/** Logits for each row that wants them; failures by cache. A failed cache must be freed or truncated. */
export interface StepResult {
  readonly logits: readonly (Float32Array | undefined)[];
  readonly failures: ReadonlyMap<SequenceCache, NonFinite>;
}

/** A model resident on a device. Steps run one at a time. */
export interface Decoder {
  /** Rows that one step may have. */
  readonly rowsMax: number;
  createCache(capacity: number): SequenceCache;
  step(rows: readonly DecoderRow[]): Promise<StepResult>;
  close(): Promise<void>;
}

/** A device that computes exactly. */
export interface Backend {
  /** `oracle`, `wasm`, ... */
  readonly name: string;
  /** What runs it, for people: threads, adapter, versions. */
  readonly device: string;
  run(call: OpCall): Promise<OpResult>;
  createDecoder(weights: DecoderWeights): Promise<Decoder>;
  close(): Promise<void>;
}
