// A list of functions to call when something happens.

/** Listeners of one kind of event. */
export class Listeners<E> {
  readonly #listeners = new Set<(event: E) => void>();

  /** Returns the way to stop listening. */
  add(listener: (event: E) => void): () => void {
    // Wrapped, so that the same function may listen twice.
    const entry = (event: E): void => listener(event);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  emit(event: E): void {
    for (const listener of this.#listeners) listener(event);
  }
}
