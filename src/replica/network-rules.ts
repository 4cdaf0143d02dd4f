// The network's configuration and prices, decoded once: the record is the same from genesis on, every
// block and every query needs it, and decoding takes longer than finding out that it has not changed.

import { decodeWith, equalBytes, present } from "gyrotron/base";
import type { StateView } from "gyrotron/store";
import type { NetworkConfig } from "./contract.ts";
import { PriceTable } from "./cycles/prices.ts";
import { networkKey } from "./state/keys.ts";
import { networkCodec } from "./state/records.ts";

/** What holds for everything that happens on a network. */
export interface NetworkRules {
  readonly network: NetworkConfig;
  readonly prices: PriceTable;
}

/** The rules of the state that was read last. */
export class NetworkRulesCache {
  #bytes: Uint8Array | undefined;
  #rules: NetworkRules | undefined;

  /** The rules that a state holds; not to be changed. */
  of(view: StateView): NetworkRules {
    const bytes = present(view.get(networkKey), "state has no network record");
    if (this.#rules === undefined || !equalBytes(present(this.#bytes), bytes)) {
      const network = decodeWith(networkCodec, bytes);
      const prices = new PriceTable(network.priceNodes, network.subnetAdmins.length > 0);
      this.#bytes = bytes.slice();
      this.#rules = { network, prices };
    }
    return this.#rules;
  }
}
