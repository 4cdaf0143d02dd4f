// The texts that one execution prints, bounded: only what a canister's log could ever hold is kept.

import { MIB } from "gyrotron/base";

/** Bytes of text kept of one execution; the largest log a canister can ask for. */
const LOG_BYTES_MAX: number = 2 * MIB;

/** Texts in order; the oldest go first when there are too many. */
export class LogBuffer {
  readonly #texts: Uint8Array[] = [];
  #bytes = 0;

  /** Bytes of a text that are worth reading. */
  static readonly textBytesMax: number = LOG_BYTES_MAX;

  append(text: Uint8Array): void {
    const kept = text.length > LOG_BYTES_MAX ? text.slice(0, LOG_BYTES_MAX) : text;
    this.#texts.push(kept);
    this.#bytes += kept.length;
    let surplus = 0;
    while (this.#bytes > LOG_BYTES_MAX) this.#bytes -= this.#texts[surplus++]!.length;
    if (surplus > 0) this.#texts.splice(0, surplus);
  }

  take(): Uint8Array[] {
    return this.#texts;
  }
}
