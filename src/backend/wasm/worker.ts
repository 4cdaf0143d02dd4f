// Entry of a helper thread: instantiate the kernels over the shared memory, then run each job's share.

import { type HelperStart, nodeThreads } from "./host-threads.ts";
import { kernelImports } from "./native.ts";

/** Some 20 us of looking for the next job before sleeping: to wake takes longer than many jobs do. */
const SPINS = 20_000;

interface WebScope {
  onmessage: ((event: { data: HelperStart }) => void) | null;
  postMessage(value: unknown): void;
}

const node = nodeThreads();
if (node !== undefined) {
  serve(node.workerData as HelperStart, () => node.parentPort?.postMessage("ready"));
} else {
  const scope = globalThis as unknown as WebScope;
  scope.onmessage = ({ data }) => serve(data, () => scope.postMessage("ready"));
}

/** Never returns: the owner terminates the thread. */
function serve(start: HelperStart, ready: () => void): void {
  const { module, memory, control, thread } = start;
  const instance = new WebAssembly.Instance(module, kernelImports(memory, start.native));
  const run = instance.exports["run"] as (control: number, thread: number) => void;
  const words = new Int32Array(memory.buffer);
  const job = start.job / 4;
  let seen = Atomics.load(words, job);
  ready();
  for (;;) {
    for (let i = 0; i < SPINS && Atomics.load(words, job) === seen; i++);
    Atomics.wait(words, job, seen);
    const found = Atomics.load(words, job);
    if (found === seen) continue;
    seen = found;
    run(control, thread);
  }
}
