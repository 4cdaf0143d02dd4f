// A request that is refused before it is executed: an HTTP status and the text of its body. Refusals
// are values; agents match some of the texts, so they are fixed by the IC interface.

/** Why a request was not accepted. */
export interface Refusal {
  readonly ok: false;
  readonly status: 400 | 403 | 404 | 413;
  readonly text: string;
}

/** A refusal with this status and text. */
export function refuse(status: Refusal["status"], text: string): Refusal {
  return { ok: false, status, text };
}
