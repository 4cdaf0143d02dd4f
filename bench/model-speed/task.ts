// What the engines are asked to do, and the process that does it: each engine runs in one of its own, loads the
// model once and then answers one task after the other, so that tasks of several engines can take turns.

import process from "node:process";

/** A task: tokens of the prompts are `tokenAt(sequence, position)`. */
export interface Task {
  readonly kind: "decode" | "prefill" | "batch";
  readonly sequences: number;
  readonly promptTokens: number;
  /** Tokens to write for each sequence. */
  readonly tokens: number;
}

/** How it went. */
export interface Answer {
  /** Until the first token was known, ms. */
  readonly firstMs: number;
  /** From then until all was done, ms. */
  readonly restMs: number;
  /** Tokens written by all sequences. */
  readonly written: number;
  /** Of all logits, where the engine has one. */
  readonly digest?: string;
}

/** What an engine's process says when it has loaded. */
export interface Ready {
  readonly name: string;
  readonly version: string;
}

/** A prompt's token; far from those that steer. */
export function tokenAt(sequence: number, position: number): number {
  return 1000 + ((position * 37 + sequence * 101) % 20000);
}

/** The prompt of a sequence. */
export function promptOf(task: Task, sequence: number): number[] {
  return Array.from({ length: task.promptTokens }, (_, i) => tokenAt(sequence, i));
}

/** Serves tasks to the parent process. */
export function serve(ready: Ready, run: (task: Task) => Promise<Answer>): void {
  process.on("message", (task: Task) => {
    run(task).then(
      (answer) => process.send?.(answer),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(1);
      },
    );
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.(ready);
}
