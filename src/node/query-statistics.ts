// What this node has answered to queries and not reported yet. Reports go out with the first query
// after a minute, so that a node which nobody asks says nothing.

import {
  addStats,
  NO_QUERIES,
  type QueryReport,
  type QueryUsage,
  REPORTED_CANISTERS_MAX,
  statsOf,
} from "gyrotron/replica";

const INTERVAL_NS = 60_000_000_000n;

/** Sums by canister. */
export class QueryStatistics {
  readonly #sums = new Map<string, QueryReport["canisters"][number]>();
  #lastNs = 0n;

  /** Takes note of what one query did; gives a report if one is due. Numbers are times, which ascend over restarts. */
  add(usage: readonly QueryUsage[], nowNs: bigint): QueryReport | undefined {
    for (const one of usage) {
      const name = one.canisterId.toHex();
      const before = this.#sums.get(name);
      // Beyond the limit a canister waits for the next report, uncounted: an attacker's ids are many.
      if (before === undefined && this.#sums.size >= REPORTED_CANISTERS_MAX) continue;
      const stats = addStats(before?.stats ?? NO_QUERIES, statsOf(one));
      this.#sums.set(name, { canisterId: one.canisterId, stats });
    }
    if (this.#lastNs === 0n) this.#lastNs = nowNs;
    if (nowNs - this.#lastNs < INTERVAL_NS || this.#sums.size === 0) return undefined;
    const canisters = [...this.#sums.values()];
    this.#sums.clear();
    this.#lastNs = nowNs;
    return { number: nowNs, canisters };
  }
}
