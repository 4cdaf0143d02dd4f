// What a network starts with: who holds tokens and cycles at genesis, and what an ICP is worth.
// Fixed at genesis, the same on every node. The default is for local networks (spec 12 §5).

import { type Codec, codec } from "gyrotron/base";
import { ANONYMOUS_PRINCIPAL } from "gyrotron/crypto";

/** Tokens that a principal holds in its default accounts from the beginning. */
export interface Endowment {
  owner: Uint8Array;
  icpE8s: bigint;
  cycles: bigint;
}

/** Configuration of the token canisters. */
export interface TokenConfig {
  endowments: Endowment[];
  /** Ten-thousandths of an XDR, that is 10^8 cycles, for one ICP. */
  xdrPermyriadPerIcp: bigint;
}

/**
 * A local network: the anonymous user owns a billion ICP and 10^30 cycles, from which development
 * tools pay their users.
 */
export const LOCAL_TOKENS: TokenConfig = {
  endowments: [
    { owner: ANONYMOUS_PRINCIPAL, icpE8s: 100_000_000_000_000_000n, cycles: 10n ** 30n },
  ],
  xdrPermyriadPerIcp: 35_200n,
};

export const tokenConfigCodec: Codec<TokenConfig> = codec.record<{
  endowments: Endowment[];
  xdrPermyriadPerIcp: bigint;
}>({
  endowments: codec.list(
    codec.record<{ owner: Uint8Array; icpE8s: bigint; cycles: bigint }>({
      owner: codec.bytes,
      icpE8s: codec.u64,
      cycles: codec.u128,
    }),
    28,
  ),
  xdrPermyriadPerIcp: codec.u64,
});
