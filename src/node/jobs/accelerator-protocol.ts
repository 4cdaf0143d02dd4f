// What the main thread and the accelerator's thread say to each other.

import type { Job, ModelRecord } from "gyrotron/job";
import type { Failure } from "../worker-protocol.ts";

/** What the thread is started with. */
export interface AcceleratorStart {
  modelPaths: readonly string[];
  /** Threads of the backend. */
  threads: number;
  /** Path of an addon with native kernels, if it is to use them: the bits are the same. */
  native?: string;
}

export type AcceleratorRequest = { kind: "load" } | { kind: "run"; number: number; job: Job };

/** Answers, and the text of a running job as it grows. `number` is undefined for loading. */
export type AcceleratorAnswer =
  | { kind: "loaded"; models: ModelRecord[]; device: string }
  | { kind: "text"; number: number; text: string }
  | { kind: "done"; number: number; result: Uint8Array }
  | { kind: "failed"; number: number | undefined; failure: Failure };
