// Queries and pre-checks on a snapshot of the state. Moves from one whole state to the next and tells
// its replica which keys changed in between, so that no query sees a mix. Owns no thread and no disk.

import { assert, present } from "gyrotron/base";
import type { Replica } from "gyrotron/replica";
import type { StateHeader, StateView } from "gyrotron/store";
import type { Findings, Inquiry } from "./inquiry.ts";
import { findReceipts } from "./jobs/receipt-archive.ts";

/** A state that stays as it is until renewed. */
export interface Snapshot {
  readonly view: StateView;
  readonly archive: StateView;
  header(): StateHeader | undefined;
  renew(): void;
}

/** A replica that answers on snapshots. */
export class QueryMachine {
  readonly #replica: Replica;
  readonly #snapshot: Snapshot;
  readonly #drain: () => void;
  #header: StateHeader | undefined;
  /** Keys announced for heights above that of the snapshot, ascending. */
  #announced: { height: bigint; keys: Uint8Array[] }[] = [];

  /** @param drain fetches the announcements that wait in a port, if that is how they come */
  constructor(replica: Replica, snapshot: Snapshot, drain: () => void = () => {}) {
    this.#replica = replica;
    this.#snapshot = snapshot;
    this.#drain = drain;
  }

  /** Height of the state that inquiries run on. */
  get height(): bigint {
    return present(this.#header, "no state before genesis").height;
  }

  /** Takes note of the keys of a block that may become visible from now on. */
  announce(height: bigint, keys: Uint8Array[]): void {
    const last = this.#announced.at(-1);
    assert(last === undefined || height === last.height + 1n, "announcements come in order");
    this.#announced.push({ height, keys });
  }

  /** Moves to the last commit, unless the snapshot already shows `height`. */
  advance(height: bigint): void {
    if (this.#header !== undefined && this.#header.height >= height) return;
    this.#snapshot.renew();
    this.#header = present(this.#snapshot.header(), "there is no state before genesis");
    // After the renewal: whatever the snapshot shows was announced before it was committed.
    this.#drain();
    this.#refresh(this.#header.height);
  }

  inquire(inquiry: Inquiry): Findings {
    const { height } = inquiry;
    this.advance(height);
    const header = present(this.#header);
    assert(header.height >= height, "the state has reached the height asked for");
    const { view, archive } = this.#snapshot;
    if (inquiry.kind === "precheck") {
      const result = this.#replica.precheck(view, header.timeNs, inquiry.content);
      return { kind: "found", result, timeNs: header.timeNs, console: [], usage: [] };
    }
    if (inquiry.kind === "receipts") {
      if (header.height !== height) return { kind: "moved", height: header.height };
      return { kind: "receipts", receipts: findReceipts(view, archive, inquiry.selector) };
    }
    const { content, certificate } = inquiry;
    // A certificate of another state would not match the data that the canister certified.
    if (certificate !== undefined && header.height !== height)
      return { kind: "moved", height: header.height };
    const answer = this.#replica.query(view, header.timeNs, content, certificate);
    const { console, usage = [], ...result } = answer;
    return { kind: "found", result, timeNs: header.timeNs, console, usage };
  }

  #refresh(height: bigint): void {
    const seen = this.#announced.filter((entry) => entry.height <= height);
    this.#announced = this.#announced.filter((entry) => entry.height > height);
    const keys = seen.flatMap((entry) => entry.keys);
    if (keys.length > 0) this.#replica.refresh(this.#snapshot.view, keys);
  }
}
