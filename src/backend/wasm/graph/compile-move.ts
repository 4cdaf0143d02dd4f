// Records of the ops that move values, and of the two that add up what they move.

import { assert } from "gyrotron/base";
import { elementCount, type Node, rowCount, type TensorType, type Window } from "gyrotron/tensor";
import type { Emitter, NodeContext } from "./emitter.ts";
import { copyAxes, denseSteps, mergeAxes, type StridedCopy, turnedMatrix } from "./move.ts";
import { columnsOf, type Part, partsOf } from "./storage.ts";

const scratch: DataView = new DataView(new ArrayBuffer(4));

/** Scratch of the kernel that turns matrices. */
const TURN_BYTES = 16384;

/** Bytes that a node that moves values needs while it runs. */
export function moveWorkspace(node: Node<number>, types: readonly TensorType<number>[]): number {
  if (node.op !== "scatter-add") return 0;
  return startsBytes(node) + elementCount(types[1]!.shape) * 4;
}

/** Bytes of the starts of a scatter-add's lists. */
function startsBytes(node: Node<number>): number {
  return (node.type.shape[0]! + 2) * 4;
}

/** Emits the records of a node that moves values. */
export function compileMove(emitter: Emitter, at: NodeContext, node: Node<number>): void {
  switch (node.op) {
    case "iota": {
      const inner = elementCount(node.type.shape.slice(node.axis + 1));
      const words = [inner, node.type.shape[node.axis]!, at.out];
      return emitter.emit(at, "iota", elementCount(node.type.shape), words);
    }
    case "transpose":
      return copyParts(emitter, at, ({ bytes, shape }, target) => {
        const steps = denseSteps(shape, bytes);
        // Of a bfp value, the last axis is no axis of the part and stays in its place.
        const axes = node.permutation.filter((axis) => axis < shape.length);
        return {
          start: 0,
          copy: denseOut(
            target,
            axes.map((axis) => steps[axis]!),
          ),
        };
      });
    case "slice":
      return copyParts(emitter, at, ({ bytes, shape }, target) => {
        const steps = denseSteps(shape, bytes);
        return {
          start: steps.reduce((sum, step, axis) => sum + step * node.starts[axis]!, 0),
          copy: denseOut(
            target,
            steps.map((step, axis) => step * node.strides[axis]!),
          ),
        };
      });
    case "broadcast":
      return copyParts(emitter, at, ({ bytes, shape }, target) => {
        const steps = denseSteps(shape, bytes);
        return {
          start: 0,
          copy: denseOut(
            target,
            steps.map((step, axis) => (shape[axis] === 1 ? 0 : step)),
          ),
        };
      });
    case "concat":
      return compileConcat(emitter, at, node.axis);
    case "pad":
      return compilePad(emitter, at, node);
    case "gather":
      return compileGather(emitter, at);
    case "scatter-add":
      return compileScatter(emitter, at);
    case "take-along": {
      const rows = rowCount(node.type.shape);
      const columns = columnsOf(at.types[0]!);
      const count = columnsOf(node.type);
      const [x, indices] = at.inputs as [number, number];
      emitter.emit(at, "checkIndices", rows, [indices, columns, count], "index-out-of-range");
      return emitter.emit(at, "take", rows, [x, columns, at.out, indices, count]);
    }
    case "patches": {
      const words = windowWords(node.window, at.types[0]!, node.type);
      const units = elementCount(node.type.shape.slice(0, 3));
      const value = bitsOf(node.value);
      return emitter.emit(at, "patches", units, [at.inputs[0]!, value, at.out, ...words]);
    }
    case "fold": {
      const words = windowWords(node.window, node.type, at.types[0]!);
      emitter.needScratch(node.window.kernel[0] * node.window.kernel[1] * 4);
      const units = elementCount(node.type.shape.slice(0, 3));
      const all = [at.out, 0, at.inputs[0]!, ...words];
      return emitter.emit(at, "fold", units, all, "non-finite");
    }
    default:
      assert(false, `${node.op} moves nothing`);
  }
}

/** Emits one copy for each part of the value. */
function copyParts(
  emitter: Emitter,
  at: NodeContext,
  copyOf: (source: Part, target: Part) => { start: number; copy: StridedCopy },
): void {
  const targets = partsOf(at.node.type);
  const sources = partsOf(at.types[0]!);
  targets.forEach((target, i) => {
    const source = sources[i]!;
    const { start, copy } = copyOf(source, target);
    const from = at.inputs[0]! + source.offset + start;
    emitCopy(emitter, at, copy, from, at.out + target.offset, i + 1 < targets.length);
  });
}

function denseOut(target: Part, stepsIn: readonly number[]): StridedCopy {
  const { shape, bytes } = target;
  return { shape, stepsIn, stepsOut: denseSteps(shape, bytes), bytes };
}

/** Emits a strided copy, as a transposition of matrices where it is one. */
export function emitCopy(
  emitter: Emitter,
  at: NodeContext,
  copy: StridedCopy,
  from: number,
  to: number,
  isFree: boolean,
): void {
  if (elementCount(copy.shape) === 0) return;
  const merged = mergeAxes(copy);
  const emit = isFree ? emitter.emitFree.bind(emitter) : emitter.emit.bind(emitter);
  const turned = turnedMatrix(merged);
  if (turned !== undefined) {
    const { matrices, rows, columns } = turned;
    emitter.needScratch(TURN_BYTES);
    emit(at, "turn", matrices * Math.ceil(columns / 16), [from, rows, to, columns]);
    return;
  }
  const { units, axes } = copyAxes(merged);
  emit(at, "copy", units, [emitter.place(axes), from, to, merged.shape.length, merged.bytes]);
}

function compileConcat(emitter: Emitter, at: NodeContext, axis: number): void {
  const targets = partsOf(at.node.type);
  const copies: { copy: StridedCopy; from: number; to: number }[] = [];
  let before = 0;
  at.types.forEach((type, operand) => {
    partsOf(type).forEach((source, i) => {
      const { shape, bytes } = source;
      const target = targets[i]!;
      const stepsOut = denseSteps(target.shape, bytes);
      const copy = { shape, stepsIn: denseSteps(shape, bytes), stepsOut, bytes };
      const to = at.out + target.offset + before * stepsOut[axis]!;
      copies.push({ copy, from: at.inputs[operand]! + source.offset, to });
    });
    before += type.shape[axis]!;
  });
  const some = copies.filter(({ copy }) => elementCount(copy.shape) > 0);
  some.forEach(({ copy, from, to }, i) =>
    emitCopy(emitter, at, copy, from, to, i + 1 < some.length),
  );
}

function compilePad(
  emitter: Emitter,
  at: NodeContext,
  node: Extract<Node<number>, { op: "pad" }>,
): void {
  const { element, shape } = node.type;
  const value = element === "f32" ? bitsOf(node.value) : node.value;
  emitter.emit(at, "fill", elementCount(shape), [value, 0, at.out]);
  const steps = denseSteps(shape, 4);
  const { shape: size } = at.types[0]!;
  const start = steps.reduce((sum, step, axis) => sum + step * node.low[axis]!, 0);
  const stepsOut = steps.map((step, axis) => step * (node.interior[axis]! + 1));
  const copy = { shape: size, stepsIn: denseSteps(size, 4), stepsOut, bytes: 4 };
  emitCopy(emitter, at, copy, at.inputs[0]!, at.out + start, false);
}

function compileGather(emitter: Emitter, at: NodeContext): void {
  const [table, indices] = at.inputs as [number, number];
  const type = at.types[0]!;
  const count = elementCount(at.types[1]!.shape);
  const check = [indices, type.shape[0]!, 1];
  emitter.emit(at, "checkIndices", count, check, "index-out-of-range");
  const targets = partsOf(at.node.type);
  partsOf(type).forEach((source, i) => {
    const bytes = elementCount(source.shape.slice(1)) * source.bytes;
    const words = [table + source.offset, bytes, at.out + targets[i]!.offset, indices];
    const isLast = i + 1 === targets.length;
    if (isLast) emitter.emit(at, "gather", count, words);
    else emitter.emitFree(at, "gather", count, words);
  });
}

function compileScatter(emitter: Emitter, at: NodeContext): void {
  const [updates, indices] = at.inputs as [number, number];
  const [size, columns] = at.node.type.shape as [number, number];
  const count = elementCount(at.types[1]!.shape);
  emitter.emit(at, "checkIndices", count, [indices, size, 1], "index-out-of-range");
  const starts = at.workspace;
  const lists = starts + startsBytes(at.node);
  const group = [indices, count, starts, lists, size, updates, columns * 4];
  emitter.emit(at, "groupUpdates", 1, group);
  emitter.emit(at, "scatter", size, [starts, columns, at.out, lists], "non-finite");
}

/** Words 7 to 19 of patches and fold. */
function windowWords(
  window: Window,
  image: TensorType<number>,
  patches: TensorType<number>,
): number[] {
  const [, height, width, channels] = image.shape as [number, number, number, number];
  const [, down, across] = patches.shape as [number, number, number];
  const { kernel, stride, dilation, padding } = window;
  return [height, width, channels, down, across, ...kernel, ...stride, ...dilation, ...padding];
}

function bitsOf(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getInt32(0);
}
