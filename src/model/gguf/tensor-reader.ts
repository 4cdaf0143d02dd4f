// Reads tensors of a GGUF file as f32, checked against the shape that the model's settings imply.

import { DecodeError } from "gyrotron/base";
import type { ByteSource } from "../byte-source.ts";
import { ModelError } from "../error.ts";
import { blockFormat } from "./block-format.ts";
import type { GgufHeader } from "./container.ts";

/** Blocks that are read at once, in bytes. */
const WINDOW_BYTES = 1 << 20;

/** Tensors by name; what nobody asked for is an error at the end. */
export class GgufTensors {
  readonly #file: ByteSource;
  readonly #header: GgufHeader;
  readonly #known: Set<string> = new Set();

  constructor(file: ByteSource, header: GgufHeader) {
    this.#file = file;
    this.#header = header;
  }

  has(name: string): boolean {
    return this.#header.tensors.has(name);
  }

  /**
   * A way to read a tensor, whose shape is checked now: rows first, `[outputs, inputs]`.
   * @throws ModelError `model/tensor-missing`, `model/tensor-shape`
   */
  expect(name: string, shape: readonly number[]): () => Float32Array {
    const tensor = this.#header.tensors.get(name);
    if (tensor === undefined) throw new ModelError({ code: "model/tensor-missing", name });
    const expected = shape.join(" x ");
    const actual = tensor.shape.toReversed().join(" x ");
    if (actual !== expected)
      throw new ModelError({ code: "model/tensor-shape", name, expected, actual });
    this.#known.add(name);
    return () => this.#read(name);
  }

  /** @throws ModelError `model/unsupported` for a tensor that no one has asked for */
  finish(): void {
    for (const name of this.#header.tensors.keys()) {
      if (!this.#known.has(name))
        throw new ModelError({ code: "model/unsupported", what: `tensor ${name}` });
    }
  }

  #read(name: string): Float32Array {
    const { format, count, offset, bytes: size } = this.#header.tensors.get(name)!;
    const { elements, bytes, read } = blockFormat(format)!;
    const values = new Float32Array(count);
    const step = Math.max(1, Math.floor(WINDOW_BYTES / bytes)) * bytes;
    for (let done = 0; done < size; done += step) {
      const window = this.#file.read(offset + done, Math.min(step, size - done));
      const view = new DataView(window.buffer, window.byteOffset, window.byteLength);
      const first = (done / bytes) * elements;
      for (let at = 0, to = first; at < window.length; at += bytes, to += elements)
        read(view, at, values, to);
      const last = first + (window.length / bytes) * elements;
      for (let i = first; i < last; i++) {
        if (Number.isFinite(values[i])) continue;
        const block = offset + Math.floor(i / elements) * bytes;
        throw new DecodeError({
          code: "tensor/decode",
          what: `${name}: value is not finite`,
          offset: block,
        });
      }
    }
    return values;
  }
}
