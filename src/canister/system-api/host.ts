// Where the system calls find the execution that is running: they are made once per runtime, and
// the session sets and clears the current execution around each run.

import { assert, present } from "gyrotron/base";
import type { Execution } from "./execution.ts";
import type { SystemCallRule } from "./rules.ts";

/** Holder of the running execution. */
export class Host {
  #execution: Execution | undefined = undefined;

  /** The running execution. */
  get execution(): Execution {
    return present(this.#execution, "no execution is running");
  }

  /** The running execution, once its mode allows the call and its fixed cost is paid. @throws TrapSignal */
  enter(rule: SystemCallRule): Execution {
    const execution = this.execution;
    execution.enter(rule);
    return execution;
  }

  start(execution: Execution): void {
    assert(this.#execution === undefined, "executions do not nest");
    this.#execution = execution;
  }

  finish(): void {
    this.#execution = undefined;
  }
}
