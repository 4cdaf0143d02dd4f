// Layers of models as compositions of ops: linear, embedding, norms, attention with caches, convolution, pooling.
// They add no op and hide no state: everything is in the graph that they make.

import { TensorError } from "../error.ts";
import { ATTENTION_BITS } from "../precision.ts";
import { ArrayBuilder } from "./array-builder.ts";
import type { Dim, DimLike } from "./dimension.ts";
import { addDims, constantOfDim, dim, divideDim, multiplyDims } from "./dimension.ts";
import { bfp, f32, i32, type Value } from "./op-builder.ts";
import type { Window } from "./op.ts";

/** Height and width, or one number for both. */
type Pair = number | readonly [number, number];

/** A window that moves over images `[B, H, W, C]`. */
export interface Convolution {
  readonly stride?: Pair;
  readonly dilation?: Pair;
  /** Rows and columns added on every side. */
  readonly padding?: Pair;
}

/** Widths of a linear layer. */
export interface LinearOptions {
  readonly bias?: Value;
  /** Width of activations, and of weights that are f32. */
  readonly bits?: number;
}

/** Gain and bias that follow a norm. */
export interface NormOptions {
  readonly gain?: Value;
  readonly bias?: Value;
  /** An f32 in 0..1; rounded to one. */
  readonly epsilon?: number;
}

/** Who sees whom. */
export interface AttentionOptions {
  readonly causal?: boolean;
}

/** The largest magnitude of f32, with a minus: what a window's maximum may never choose. */
const LOWEST = -(2 - 2 ** -23) * 2 ** 127;

/** Builds graphs. */
export class GraphBuilder extends ArrayBuilder {
  /** x `[..., K]` by weights f32 or bfp `[N, K]`, plus a bias `[N]`. */
  linear(x: Value, weight: Value, options: LinearOptions = {}): Value {
    const { bias, bits = 14 } = options;
    const rows = x.shape.length === 1 ? this.expandDims(x, 0) : x;
    const product = this.matmul(rows, weight, { transposeB: true, bits });
    const y = this.reshape(product, [...x.shape.slice(0, -1), product.shape.at(-1)!]);
    return bias === undefined ? y : this.add(y, bias);
  }

  /** Rows of the table `[V, N]` for tokens i32 `[...]`. */
  embedding(table: Value, tokens: Value): Value {
    return this.gather(table, tokens);
  }

  rmsNorm(x: Value, options: NormOptions = {}): Value {
    const epsilon = Math.fround(options.epsilon ?? 1e-5);
    return this.#affine(this.node({ op: "rms-norm", epsilon }, [x]), options);
  }

  layerNorm(x: Value, options: NormOptions = {}): Value {
    const epsilon = Math.fround(options.epsilon ?? 1e-5);
    return this.#affine(this.node({ op: "layer-norm", epsilon }, [x]), options);
  }

  /**
   * Attention of q `[B, T, H, d]` over k and v `[B, P, G, d]`; f32 operands are quantized by head slice to 13
   * bits. Causal rows see positions up to `P - T + t`.
   */
  attention(q: Value, k: Value, v: Value, options: AttentionOptions = {}): Value {
    const { causal = false } = options;
    const inputs = [q, k, v].map((x) => this.#quantized(x));
    return this.node({ op: "attention", causal }, inputs);
  }

  /** The same bits in two ops, for those who want the scores. */
  attentionUnfused(q: Value, k: Value, v: Value, options: AttentionOptions = {}): Value {
    const { causal = false } = options;
    const scores = this.attentionScores(this.#quantized(q), this.#quantized(k), causal);
    return this.attentionCombine(scores, this.#quantized(v), causal);
  }

  /**
   * Keys or values of earlier positions, a state `[B, past, G, d]` named `name`, with f32 `[B, T, G, d]` appended.
   * The result goes into attention and is the state's next value, as the output `<name>.next`.
   */
  cache(name: string, past: DimLike, x: Value): Value {
    const [batch, , heads, size] = x.shape;
    if (x.shape.length !== 4) {
      const actual = `${x.shape.length} axes`;
      throw new TensorError({
        code: "tensor/type",
        op: "cache",
        input: 0,
        expected: "4 axes",
        actual,
      });
    }
    const state = this.state(name, bfp(ATTENTION_BITS, batch!, past, heads!, size!));
    const next = this.concat([state, this.#quantized(x)], 1);
    this.output(`${name}.next`, next, { updates: name });
    return next;
  }

  /** Positions `first, first + 1, ...` for a scalar i32 `first`. */
  positions(first: Value, count: DimLike): Value {
    return this.add(this.iota([count], 0), first);
  }

  /** Images `[B, H, W, C]` by kernels f32 `[N, kh, kw, C]`: `[B, OH, OW, N]`. */
  conv2d(x: Value, kernel: Value, options: Convolution & LinearOptions = {}): Value {
    const [outputs, height, width, channels] = kernel.shape;
    if (kernel.shape.length !== 4) {
      const actual = `${kernel.shape.length} axes`;
      throw new TensorError({
        code: "tensor/type",
        op: "conv2d",
        input: 1,
        expected: "4 axes",
        actual,
      });
    }
    const patches = this.patches(x, [sizeOf(height!), sizeOf(width!)], options);
    const length = multiplyDims(multiplyDims(height!, width!), channels!);
    const rows = this.reshape(patches, [...patches.shape.slice(0, 3), length]);
    return this.linear(rows, this.reshape(kernel, [outputs!, length]), options);
  }

  maxPool(x: Value, size: Pair, options: Convolution = {}): Value {
    return this.reduceMax(this.patches(x, size, poolWindow(size, options), LOWEST), {
      axis: [3, 4],
    });
  }

  /** The mean over windows; padding counts as 0. */
  avgPool(x: Value, size: Pair, options: Convolution = {}): Value {
    return this.mean(this.patches(x, size, poolWindow(size, options)), { axis: [3, 4] });
  }

  /** Every window of an image `[B, H, W, C]`: `[B, OH, OW, kh, kw, C]`. */
  patches(x: Value, kernel: Pair, options: Convolution = {}, value = 0): Value {
    if (x.shape.length !== 4) {
      const actual = `${x.shape.length} axes`;
      throw new TensorError({
        code: "tensor/type",
        op: "patches",
        input: 0,
        expected: "4 axes",
        actual,
      });
    }
    const window: Window = {
      kernel: pairOf(kernel),
      stride: pairOf(options.stride ?? 1),
      dilation: pairOf(options.dilation ?? 1),
      padding: pairOf(options.padding ?? 0),
    };
    const [batch, height, width, channels] = x.shape;
    const shape = [
      batch!,
      windowsAlong(height!, window, 0),
      windowsAlong(width!, window, 1),
      ...window.kernel,
      channels!,
    ];
    return this.node({ op: "patches", window, value }, [x], f32(...shape));
  }

  /** The key of a random stream: seed low, seed high, sequence, purpose. */
  randomKey(name: string): Value {
    return this.input(name, i32(4));
  }

  #quantized(x: Value): Value {
    return x.type.element === "bfp" ? x : this.quantize(x, ATTENTION_BITS);
  }

  #affine(x: Value, { gain, bias }: NormOptions): Value {
    const scaled = gain === undefined ? x : this.mul(x, gain);
    return bias === undefined ? scaled : this.add(scaled, bias);
  }
}

function pairOf(pair: Pair): readonly [number, number] {
  return typeof pair === "number" ? [pair, pair] : pair;
}

/** Pooling windows lie side by side unless told otherwise. */
function poolWindow(size: Pair, options: Convolution): Convolution {
  return { ...options, stride: options.stride ?? size };
}

/** `floor((size + 2 padding - (kernel - 1) dilation - 1) / stride) + 1`. */
function windowsAlong(size: Dim, window: Window, axis: 0 | 1): Dim {
  const span = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
  const free = addDims(size, 2 * window.padding[axis] - span);
  return addDims(divideDim(free, window.stride[axis]), 1);
}

function sizeOf(size: Dim): number {
  const constant = constantOfDim(dim(size));
  if (constant !== undefined) return constant;
  throw new TensorError({ code: "tensor/dimension", what: "a kernel's size must be constant" });
}
