// The texts that one execution prints, bounded: only what a canister's log could ever hold is kept.

import { EMPTY_BYTES, MIB } from "gyrotron/base";

/** Bytes of text kept of one execution; the largest log a canister can ask for. */
const LOG_BYTES_MAX: number = 2 * MIB;
/** What each text counts besides its bytes, as a record of the log does: else there could be millions. */
const TEXT_OVERHEAD_BYTES = 20;

/** Texts in order; the oldest go first when there are too many. */
export class LogBuffer {
  #texts: Uint8Array[] = [];
  /** Texts before this one have gone. */
  #first = 0;
  #bytes = 0;

  /** Bytes of a text that are worth reading. */
  static readonly textBytesMax: number = LOG_BYTES_MAX - TEXT_OVERHEAD_BYTES;

  append(text: Uint8Array): void {
    const kept = text.slice(0, LogBuffer.textBytesMax);
    this.#texts.push(kept);
    this.#bytes += kept.length + TEXT_OVERHEAD_BYTES;
    for (; this.#bytes > LOG_BYTES_MAX; this.#first++) {
      this.#bytes -= this.#texts[this.#first]!.length + TEXT_OVERHEAD_BYTES;
      this.#texts[this.#first] = EMPTY_BYTES;
    }
    // Not at each text: moving all that follow would take time with the square of their number.
    if (this.#first * 2 > this.#texts.length) {
      this.#texts = this.#texts.slice(this.#first);
      this.#first = 0;
    }
  }

  take(): Uint8Array[] {
    return this.#texts.slice(this.#first);
  }
}
