// What an encoder of BERT's kind computes: one graph for any number of texts of one length. Texts of unlike
// lengths are unlike runs, so nothing is padded and no mask is needed; how texts are grouped changes no bit.
// Normative text: docs/spec/01-numerics.md section 23.

import {
  activationBitsOf,
  f32,
  type Graph,
  GraphBuilder,
  i32,
  type Precision,
  scaledBfp,
  type Value,
  weightBitsOf,
} from "gyrotron/tensor";
import type { EncoderActivation, EncoderSettings, EncoderShape } from "./encoder-source.ts";

/** Texts that one run may have, where the model's values stay below the size that a value may have. */
const BATCH_MAX = 64;
const ELEMENTS_MAX = 2 ** 31 - 1;

/** The least length by which a vector is divided, as in the usual implementations. */
const LENGTH_MIN = 1e-12;

/**
 * The graph from tokens i32 `[batch, time]` to `embedding` f32 `[batch, width]`. Its parameters have the names
 * by which `prepareEncoder` gives their values.
 */
export function encoderGraph(settings: EncoderSettings, precision: Precision): Graph {
  return new EncoderBuilder(settings, precision).build();
}

/** Texts that one run of the graph may have. */
export function encoderBatchMax({ width, hidden, context }: EncoderShape): number {
  return Math.max(
    1,
    Math.min(BATCH_MAX, Math.floor(ELEMENTS_MAX / (context * Math.max(width, hidden)))),
  );
}

class EncoderBuilder {
  readonly #g: GraphBuilder = new GraphBuilder();
  readonly #settings: EncoderSettings;
  readonly #precision: Precision;

  constructor(settings: EncoderSettings, precision: Precision) {
    this.#settings = settings;
    this.#precision = precision;
  }

  build(): Graph {
    const g = this.#g;
    const { shape } = this.#settings;
    const batch = g.symbol("batch", encoderBatchMax(shape));
    const time = g.symbol("time", shape.context);
    const tokens = g.input("tokens", i32(batch, time));
    const words = g.embedding(
      g.parameter("tokens.weight", f32(shape.vocabulary, shape.width)),
      tokens,
    );
    const segment = g.parameter("segment", f32(shape.width));
    const table = g.parameter("positions.weight", f32(shape.context, shape.width));
    const placed = g.add(g.add(words, segment), g.slice(table, 0, 0, time));
    let x = this.#norm("embedding-norm", placed);
    for (let i = 0; i < shape.layers; i++) x = this.#layer(`layer.${i}`, x);
    g.output("embedding", this.#scaled(this.#pooled(x)));
    return g.build();
  }

  #layer(at: string, x: Value): Value {
    const g = this.#g;
    const { width, hidden } = this.#settings.shape;
    const attended = this.#attention(at, x);
    const mixed = this.#linear(`${at}.attention-output`, attended, width, width);
    const y = this.#norm(`${at}.attention-norm`, g.add(mixed, x));
    const raised = this.#activate(this.#linear(`${at}.up`, y, hidden, width));
    const lowered = this.#linear(`${at}.down`, raised, width, hidden);
    return this.#norm(`${at}.output-norm`, g.add(lowered, y));
  }

  /** Every position sees all positions of its text. */
  #attention(at: string, x: Value): Value {
    const g = this.#g;
    const { width, heads } = this.#settings.shape;
    const [batch, time] = x.shape as [Value["shape"][0], Value["shape"][0]];
    const project = (name: string): Value => {
      const rows = this.#linear(`${at}.${name}`, x, width, width);
      return g.reshape(rows, [batch, time, heads, width / heads]);
    };
    const attended = g.attention(project("query"), project("key"), project("value"));
    return g.reshape(attended, [batch, time, width]);
  }

  #linear(name: string, x: Value, outputs: number, inputs: number): Value {
    const bits = activationBitsOf(this.#precision);
    const weightBits = weightBitsOf(this.#precision);
    const weight = this.#g.parameter(`${name}.weight`, scaledBfp(weightBits, outputs, inputs));
    const bias = this.#g.parameter(`${name}.bias`, f32(outputs));
    return this.#g.linear(x, weight, { bias, bits });
  }

  #norm(name: string, x: Value): Value {
    const { shape, epsilon } = this.#settings;
    const gain = this.#g.parameter(`${name}.gain`, f32(shape.width));
    const bias = this.#g.parameter(`${name}.bias`, f32(shape.width));
    return this.#g.layerNorm(x, { gain, bias, epsilon });
  }

  #activate(x: Value): Value {
    const unary: Record<EncoderActivation, () => Value> = {
      gelu: () => this.#g.gelu(x),
      "gelu-tanh": () => this.#g.gelu(x, { approximate: true }),
      relu: () => this.#g.relu(x),
    };
    return unary[this.#settings.activation]();
  }

  /** `[batch, time, width]` to `[batch, width]`. */
  #pooled(x: Value): Value {
    const g = this.#g;
    if (this.#settings.pooling === "mean") return g.mean(x, { axis: 1 });
    return g.reshape(g.slice(x, 1, 0, 1), [x.shape[0]!, x.shape[2]!]);
  }

  #scaled(x: Value): Value {
    if (!this.#settings.normalizes) return x;
    const g = this.#g;
    const length = g.sqrt(g.sum(g.mul(x, x), { axis: -1, keepDims: true }));
    return g.div(x, g.max(length, LENGTH_MIN));
  }
}
