// The frame of a kernel: bindings, parameters, failures, and the loop over elements or rows. It owns what
// all kernels of graphs share; the bodies are with the ops.
//
// Group 0 holds the parameters (uniform), the status of the run, the tables of functions where they are needed,
// the inputs and the outputs; group 1 the small tables of device.ts. The status has two words for each node: the smallest row with a bad index or grid,
// and the smallest row that is not finite; all ones where there is none.

import { FUNCTION_TABLE } from "../wgsl/function-table.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";

/** A compute kernel. Two kernels of one text are one pipeline. */
export interface Kernel {
  readonly name: string;
  readonly text: string;
  /** Whether it reads the tables of functions. */
  readonly hasTables: boolean;
  readonly reads: number;
  readonly writes: number;
  /** Words of parameters. */
  readonly params: number;
}

interface KernelSource {
  readonly name: string;
  readonly pieces: readonly WgslPiece[];
  /** Inputs `in0`, `in1`, ... of words. */
  readonly reads: number;
  /** Outputs `out0`, `out1`, ... of words. */
  readonly writes: number;
  /** Whether the outputs are atomic. */
  readonly isAtomic?: boolean;
  readonly params: number;
  readonly workgroupSize: number;
  readonly body: string;
}

const ELEMENT_WORKGROUP = 64;

/**
 * A kernel with a thread for each element: `body` declares `fn element(i: u32)`; parameter 0 is the number of
 * elements.
 */
export function elementKernel(source: Omit<KernelSource, "workgroupSize">): Kernel {
  return kernelOf({
    ...source,
    workgroupSize: ELEMENT_WORKGROUP,
    body: /* wgsl */ `${source.body.trim()}
@compute @workgroup_size(${ELEMENT_WORKGROUP})
fn main(@builtin(workgroup_id) w: vec3u, @builtin(num_workgroups) g: vec3u, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * g.x + w.x) * ${ELEMENT_WORKGROUP}u + l;
  if (i < param(0u)) { element(i); }
}`,
  });
}

/** Workgroups of an element kernel. */
export function elementGroups(count: number): number {
  return Math.ceil(count / ELEMENT_WORKGROUP);
}

/**
 * A kernel with a workgroup for each row: `body` declares `fn row(r: u32, l: u32)` for thread l of WG;
 * parameter 0 is the number of rows. Branches around a reduction must be uniform.
 */
export function rowKernel(source: KernelSource): Kernel {
  return kernelOf({
    ...source,
    body: /* wgsl */ `const WG = ${source.workgroupSize}u;
${source.body.trim()}
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(num_workgroups) g: vec3u, @builtin(local_invocation_index) l: u32) {
  let r = w.y * g.x + w.x;
  if (r < param(0u)) { row(r, l); }
}`,
  });
}

/** Kernels that depend on the dot product of bytes that a device is to use, made once for each. */
export function byDot(make: (dot: WgslPiece) => Kernel): (dot: WgslPiece) => Kernel {
  const made = new Map<WgslPiece, Kernel>();
  return (dot) => {
    const known = made.get(dot) ?? make(dot);
    made.set(dot, known);
    return known;
  };
}

function kernelOf(source: KernelSource): Kernel {
  const hasTables = needsPiece(source.pieces, FUNCTION_TABLE);
  const first = hasTables ? 3 : 2;
  const word = source.isAtomic === true ? "atomic<u32>" : "u32";
  const bindings = [
    ...Array.from({ length: source.reads }, (_, i) => `var<storage, read> in${i}: array<u32>`),
    ...Array.from(
      { length: source.writes },
      (_, i) => `var<storage, read_write> out${i}: array<${word}>`,
    ),
  ].map((binding, i) => `@group(0) @binding(${i + first}) ${binding};`);
  const frame: WgslPiece = {
    name: "frame",
    needs: source.pieces,
    text: /* wgsl */ `
@group(0) @binding(0) var<uniform> params: array<vec4u, ${Math.ceil(source.params / 4)}>;
@group(0) @binding(1) var<storage, read_write> status: array<atomic<u32>>;
${bindings.join("\n")}
fn param(i: u32) -> u32 {
  return params[i >> 2u][i & 3u];
}
fn fail(node: u32, row: u32) {
  atomicMin(&status[2u * node + 1u], row);
}
fn failRange(node: u32, row: u32) {
  atomicMin(&status[2u * node], row);
}
${source.body.trim()}
`,
  };
  const { name, reads, writes, params } = source;
  return { name, text: composeWgsl([frame]), hasTables, reads, writes, params };
}

function needsPiece(pieces: readonly WgslPiece[], wanted: WgslPiece): boolean {
  return pieces.some((piece) => piece === wanted || needsPiece(piece.needs, wanted));
}
