// The text behind a prompt as its tokens arrive, up to the first stop text.

import { assert } from "gyrotron/base";
import type { TokenStream } from "gyrotron/model";

/** UTF-16 units, of at most 3 bytes each, from which on a text is long enough: a result must fit into a block. */
const UNITS_MAX = 2 ** 18;

/** A text that grows token by token. */
export class GrowingText {
  readonly #stream: TokenStream;
  readonly #stops: readonly string[];
  #text = "";
  #isStopped = false;

  constructor(stream: TokenStream, promptTokens: readonly number[], stops: readonly string[]) {
    assert(
      stops.every((stop) => stop !== ""),
      "an empty stop text",
    );
    this.#stream = stream;
    this.#stops = stops;
    // The stream must have seen the prompt: what it drops or joins depends on what came before.
    for (const token of promptTokens) this.#stream.push(token);
  }

  /** Whether a stop text has come, which is not part of the text. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether the text is as long as a result's may be. */
  get isFull(): boolean {
    return this.#text.length >= UNITS_MAX;
  }

  /** The text so far, without what may yet turn out to begin a stop text. */
  push(token: number): string {
    this.#append(this.#stream.push(token));
    return this.#isStopped ? this.#text : this.#text.slice(0, this.#text.length - this.#heldBack());
  }

  end(): string {
    this.#append(this.#stream.end());
    return this.#text;
  }

  #append(piece: string): void {
    if (this.#isStopped) return;
    const before = this.#text.length;
    this.#text += piece;
    let end = this.#text.length;
    for (const stop of this.#stops) {
      const at = this.#text.indexOf(stop, Math.max(0, before - stop.length + 1));
      if (at < 0) continue;
      end = Math.min(end, at);
      this.#isStopped = true;
    }
    this.#text = this.#text.slice(0, end);
  }

  /** Length of the longest end of the text that begins a stop text. */
  #heldBack(): number {
    let most = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#text.length); length > most; length--)
        if (this.#text.endsWith(stop.slice(0, length))) most = length;
    }
    return most;
  }
}
