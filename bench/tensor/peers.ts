// Other engines on the same products: onnxruntime native and as Wasm (which is what transformers.js runs on
// outside of a GPU), and TensorFlow.js as Wasm. They live in bench/speed-peers and are loaded if installed.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { floatProduct, integerProduct, type ProductShape } from "./onnx-model.ts";

const FOLDER = join(import.meta.dirname, "..", "speed-peers");
const load = createRequire(join(FOLDER, "package.json"));

/** A product on another engine: activations in, f32 out. */
export interface PeerProduct {
  readonly run: () => unknown;
  readonly close: () => Promise<unknown>;
}

/** What is multiplied, in every form that an engine wants. */
export interface Operands {
  readonly shape: ProductShape;
  readonly activations: Float32Array;
  /** [inputs][outputs], each 64 times its weight. */
  readonly mantissas: Int8Array;
}

interface Session {
  run(feeds: { a: unknown }): Promise<unknown>;
  release(): Promise<void>;
}

interface OnnxRuntime {
  readonly Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Record<string, unknown>): Promise<Session>;
  };
  readonly env: { readonly wasm: { numThreads: number } };
}

interface Tensorflow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor2d(data: Float32Array, shape: readonly number[]): TensorflowTensor;
  matMul(left: TensorflowTensor, right: TensorflowTensor): TensorflowTensor;
}

interface TensorflowTensor {
  dataSync(): unknown;
  dispose(): void;
}

/** The version of an installed peer, or undefined. */
export function peerVersion(name: string): string | undefined {
  try {
    return (load(join(FOLDER, "node_modules", name, "package.json")) as { version: string })
      .version;
  } catch {
    return undefined;
  }
}

/** onnxruntime's native engine on as many threads. */
export async function nativeOnnx(
  kind: "float" | "integer",
  operands: Operands,
  threads: number,
): Promise<PeerProduct> {
  return onnx(load("onnxruntime-node") as OnnxRuntime, kind, operands, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
  });
}

/** onnxruntime as Wasm, one thread. */
export async function wasmOnnx(
  kind: "float" | "integer",
  operands: Operands,
): Promise<PeerProduct> {
  const path = join(FOLDER, "node_modules/onnxruntime-web/dist/ort.node.min.mjs");
  const runtime = (await import(pathToFileURL(path).href)) as OnnxRuntime;
  runtime.env.wasm.numThreads = 1;
  return onnx(runtime, kind, operands, { executionProviders: ["wasm"] });
}

/** TensorFlow.js as Wasm, one thread. */
export async function wasmTensorflow(operands: Operands): Promise<PeerProduct> {
  const tf = load("@tensorflow/tfjs-core") as Tensorflow;
  load("@tensorflow/tfjs-backend-wasm");
  await tf.setBackend("wasm");
  await tf.ready();
  const { rows, inputs, outputs } = operands.shape;
  const weights = tf.tensor2d(floatWeights(operands.mantissas), [inputs, outputs]);
  return {
    run() {
      const left = tf.tensor2d(operands.activations, [rows, inputs]);
      const product = tf.matMul(left, weights);
      product.dataSync();
      left.dispose();
      product.dispose();
    },
    close: async () => weights.dispose(),
  };
}

async function onnx(
  runtime: OnnxRuntime,
  kind: "float" | "integer",
  { shape, activations, mantissas }: Operands,
  options: Record<string, unknown>,
): Promise<PeerProduct> {
  const model =
    kind === "float"
      ? floatProduct(shape, floatWeights(mantissas))
      : integerProduct(shape, mantissas);
  const session = await runtime.InferenceSession.create(model, options);
  const a = new runtime.Tensor("float32", activations, [shape.rows, shape.inputs]);
  return { run: () => session.run({ a }), close: () => session.release() };
}

function floatWeights(mantissas: Int8Array): Float32Array {
  return Float32Array.from(mantissas, (mantissa) => mantissa / 64);
}
