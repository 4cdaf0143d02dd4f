// Ops that move values, as strided copies: each part of a value (storage.ts) is copied by steps in and out
// along each axis, after axes that lie one behind the other have been merged.

import { elementCount } from "gyrotron/tensor";

/** A copy of a block: sizes of axes, and bytes between neighbours where it is read and written. */
export interface StridedCopy {
  readonly shape: readonly number[];
  readonly stepsIn: readonly number[];
  readonly stepsOut: readonly number[];
  /** Bytes of an element. */
  readonly bytes: number;
}

/** Bytes between neighbours along each axis of a dense block. */
export function denseSteps(shape: readonly number[], bytes: number): number[] {
  const steps: number[] = [];
  let step = bytes;
  for (const size of shape.toReversed()) {
    steps.unshift(step);
    step *= size;
  }
  return steps;
}

/** The same copy with as few axes as possible, at least one. */
export function mergeAxes(copy: StridedCopy): StridedCopy {
  const shape: number[] = [];
  const stepsIn: number[] = [];
  const stepsOut: number[] = [];
  copy.shape.forEach((size, axis) => {
    if (size === 1) return;
    const stepIn = copy.stepsIn[axis]!;
    const stepOut = copy.stepsOut[axis]!;
    const last = shape.length - 1;
    if (last >= 0 && stepsIn[last] === stepIn * size && stepsOut[last] === stepOut * size) {
      shape[last]! *= size;
      stepsIn[last] = stepIn;
      stepsOut[last] = stepOut;
      return;
    }
    shape.push(size);
    stepsIn.push(stepIn);
    stepsOut.push(stepOut);
  });
  if (shape.length === 0) {
    return { ...copy, shape: [1], stepsIn: [copy.bytes], stepsOut: [copy.bytes] };
  }
  return { ...copy, shape, stepsIn, stepsOut };
}

/** Units of a merged copy and its axes as the kernel reads them. */
export function copyAxes(copy: StridedCopy): { units: number; axes: Uint32Array } {
  const { shape, stepsIn, stepsOut } = copy;
  const axes = shape.flatMap((size, i) => [size, stepsIn[i]!, stepsOut[i]!]);
  return { units: elementCount(shape.slice(0, -1)), axes: Uint32Array.from(axes) };
}

/** Rows and columns, if a merged copy turns a matrix (or each of several) of 4-byte elements round. */
export function turnedMatrix(
  copy: StridedCopy,
): { matrices: number; rows: number; columns: number } | undefined {
  if (copy.bytes !== 4 || copy.shape.length < 2 || copy.shape.length > 3) return undefined;
  const [columns, rows] = copy.shape.slice(-2) as [number, number];
  const matrices = copy.shape.length === 3 ? copy.shape[0]! : 1;
  const isTurned =
    copy.stepsIn.at(-2) === 4 &&
    copy.stepsIn.at(-1) === columns * 4 &&
    copy.stepsOut.at(-1) === 4 &&
    copy.stepsOut.at(-2) === rows * 4;
  const whole = rows * columns * 4;
  const isBatch =
    copy.shape.length === 2 || (copy.stepsIn[0] === whole && copy.stepsOut[0] === whole);
  return isTurned && isBatch ? { matrices, rows, columns } : undefined;
}

/** Whether a transposition leaves the order of the elements. */
export function keepsOrder(shape: readonly number[], permutation: readonly number[]): boolean {
  const moved = permutation.filter((axis) => shape[axis] !== 1);
  return elementCount(shape) === 0 || moved.every((axis, i) => i === 0 || axis > moved[i - 1]!);
}
