// Which dot product of bytes a device may use: its own only if it has one and computes vectors whose sums are
// known, extremes and signs included. The choice changes speed, never bits.

import type { ShaderSource, WebGpuDevice } from "./device.ts";
import { DOT_NATIVE, DOT_PLAIN } from "./wgsl/dot.ts";
import { composeWgsl, type WgslPiece } from "./wgsl/piece.ts";

/** The fastest dot product of bytes that this device computes rightly. */
export async function chooseDot(device: WebGpuDevice, isPlain: boolean): Promise<WgslPiece> {
  if (isPlain || !device.hasPackedDot) return DOT_PLAIN;
  return (await isExact(device)) ? DOT_NATIVE : DOT_PLAIN;
}

async function isExact(device: WebGpuDevice): Promise<boolean> {
  const pairs = goldenPairs();
  const pipeline = await device.pipeline(dotShader());
  const input = device.upload(new Uint8Array(pairs.buffer));
  const output = device.create(pairs.length / 2, "storage");
  try {
    const recorder = device.record();
    recorder.dispatch(device.bind(pipeline, [input, output]), 1);
    recorder.read({ buffer: output, offset: 0, bytes: pairs.length / 2 });
    const sums = await device.submit(recorder);
    return sums.every((sum, i) => (sum | 0) === sumOf(pairs, i));
  } finally {
    input.destroy();
    output.destroy();
  }
}

/** Pairs of four bytes: all combinations of the extremes, then bytes of every value. */
function goldenPairs(): Int8Array<ArrayBuffer> {
  const extremes = [-128, -127, -1, 0, 1, 127];
  const bytes: number[] = [];
  for (const a of extremes) for (const b of extremes) bytes.push(a, a, a, a, b, b, b, b);
  for (let i = 0; i < 256; i++) {
    bytes.push(i, i * 3, i * 5, i * 7, i * 11, i * 13, i * 17, i * 19);
  }
  return Int8Array.from(bytes);
}

function sumOf(pairs: Int8Array, i: number): number {
  let sum = 0;
  for (let k = 0; k < 4; k++) sum += pairs[8 * i + k]! * pairs[8 * i + 4 + k]!;
  return sum;
}

function dotShader(): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [DOT_NATIVE],
    text: /* wgsl */ `
@group(0) @binding(0) var<storage, read> pairs: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> sums: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) l: u32) {
  for (var i = l; i < arrayLength(&sums); i += 64u) { sums[i] = dotBytes(pairs[i].x, pairs[i].y); }
}
`,
  };
  return { name: "dot", code: composeWgsl([main]), bindings: ["read", "write"] };
}
