// Text of answers while they are written, by the user's request. A preview is not certified: it is
// what this node's accelerator has so far, to be compared with the certified reply.

/** Told the whole text so far; undefined: there will be no more. */
export type PreviewListener = (text: string | undefined) => void;

/** Who watches which request, and how far its answer is. */
export class Previews {
  readonly #texts = new Map<string, string>();
  readonly #listeners = new Map<string, Set<PreviewListener>>();

  /** The answer to a request has grown. */
  grow(requestId: Uint8Array, text: string): void {
    const name = requestId.toHex();
    this.#texts.set(name, text);
    for (const listener of this.#listeners.get(name) ?? []) listener(text);
  }

  /** The request has its answer. */
  end(requestId: Uint8Array): void {
    const name = requestId.toHex();
    this.#texts.delete(name);
    const listeners = this.#listeners.get(name);
    this.#listeners.delete(name);
    for (const listener of listeners ?? []) listener(undefined);
  }

  /** Listens from the text that there is already; returns the way to stop. */
  watch(requestId: Uint8Array, listener: PreviewListener): () => void {
    const name = requestId.toHex();
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    const text = this.#texts.get(name);
    if (text !== undefined) listener(text);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(name) === listeners)
        this.#listeners.delete(name);
    };
  }
}
