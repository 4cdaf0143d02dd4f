// Callers that wait for the answer to a request, several to one request if need be.

/** Calls back once after a delay; returns the way to cancel. */
export type Schedule = (delayMs: number, callback: () => void) => () => void;

/** Who waits for which request. */
export class WaitingCalls {
  readonly #schedule: Schedule;
  readonly #waiting = new Map<string, Set<(hasAnswer: boolean) => void>>();

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  /** true when the request is answered, false when `waitMs` have passed or the node gives up. */
  wait(requestId: string, waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (hasAnswer: boolean): void => {
        cancel();
        this.#remove(requestId, settle);
        resolve(hasAnswer);
      };
      const cancel = this.#schedule(waitMs, () => settle(false));
      const others = this.#waiting.get(requestId);
      if (others === undefined) this.#waiting.set(requestId, new Set([settle]));
      else others.add(settle);
    });
  }

  resolve(requestId: string): void {
    for (const settle of this.#waiting.get(requestId) ?? []) settle(true);
  }

  /** Lets everyone go without an answer. */
  giveUp(): void {
    for (const settles of [...this.#waiting.values()]) for (const settle of settles) settle(false);
  }

  #remove(requestId: string, settle: (hasAnswer: boolean) => void): void {
    const settles = this.#waiting.get(requestId);
    settles?.delete(settle);
    if (settles?.size === 0) this.#waiting.delete(requestId);
  }
}
