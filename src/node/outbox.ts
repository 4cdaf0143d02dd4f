// Messages to another thread, a turn of the event loop at a time: what a message costs is waking the
// other thread, so those of one turn travel together.

/** How long a message may wait for the turn to end, ms: one long answer must not hold up the others. */
const WAIT_MS_MAX = 1;

/** Collects messages and posts them in order. */
export class Outbox<M> {
  readonly #post: (batch: M[]) => void;
  #batch: M[] = [];
  #oldestMs = 0;

  constructor(post: (batch: M[]) => void) {
    this.#post = post;
  }

  add(message: M): void {
    const nowMs = performance.now();
    if (this.#batch.length === 0) {
      this.#oldestMs = nowMs;
      setImmediate(() => this.flush());
    }
    this.#batch.push(message);
    if (nowMs - this.#oldestMs > WAIT_MS_MAX) this.flush();
  }

  /** Posts what has been collected now. */
  flush(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#post(batch);
  }
}
