// The one price table (spec 08). Prices are stated for 13 nodes, in cycles, and scale with the number
// of nodes as the ICP's do: price * nodes / 13, rounded down once for the whole amount.
// Owns prices; balances are changed in balance.ts.

import { GIB, REPLY_BYTES_MAX, UPDATE_INSTRUCTIONS_MAX } from "gyrotron/base";
import type { ExecutionPrices } from "gyrotron/canister";

const REFERENCE_NODES = 13n;

const PRODUCTION_KEY_NODES = 34n;
/** Names of the keys that canisters may sign with, for each scheme. */
export const THRESHOLD_KEY_NAMES = ["key_1", "test_key_1", "dfx_test_key"] as const;

/** Prices on 13 nodes. */
export const PRICES_13 = {
  createCanister: 500_000_000_000n,
  /** Any replicated execution. */
  executionBase: 5_000_000n,
  ingressBase: 1_200_000n,
  ingressPerByte: 2_000n,
  callBase: 260_000n,
  callPerByte: 1_000n,
  /** Per percent and second. */
  computePerPercentSecond: 10_000_000n,
  /** Per GiB and second: 4.005e12 a GiB-year, about $5.5. */
  storagePerGibSecond: 127_000n,
  thresholdSignature: 10_000_000_000n,
  /** Any GPU job, and per 10^9 multiply-adds of it (ours). */
  gpuJobBase: 10_000_000n,
  gpuPerGigaMac: 1_000_000n,
} as const;

/** Prices of a network of a given number of nodes. */
export class PriceTable {
  readonly nodes: bigint;
  readonly #isAdministered: boolean;

  /** `isAdministered`: the subnet has administrators. */
  constructor(nodes: number, isAdministered = false) {
    this.nodes = BigInt(nodes);
    this.#isAdministered = isAdministered;
  }

  /** Nothing on a subnet with administrators, who create without attaching cycles. */
  get createCanister(): bigint {
    return this.#isAdministered ? 0n : this.#scale(PRICES_13.createCanister);
  }

  /** Price of `instructions` (wasm64 counts each twice) and, unless it is none, of the execution itself. */
  execution(instructions: bigint, isWasm64: boolean): bigint {
    return this.#scale(PRICES_13.executionBase + instructions * (isWasm64 ? 2n : 1n));
  }

  /** Price of bringing an ingress message of `bytes` into a block. */
  ingress(bytes: number): bigint {
    return this.#scale(PRICES_13.ingressBase + PRICES_13.ingressPerByte * BigInt(bytes));
  }

  /** Price of transmitting `bytes` of request or response. */
  transmission(bytes: number): bigint {
    return this.#scale(PRICES_13.callPerByte * BigInt(bytes));
  }

  /** Storage of `bytes` for `ns` nanoseconds. */
  storage(bytes: bigint, ns: bigint): bigint {
    return this.#scale(
      (PRICES_13.storagePerGibSecond * bytes * ns) / (BigInt(GIB) * 1_000_000_000n),
    );
  }

  /** Compute allocation of `percent` for `ns` nanoseconds. */
  computeAllocation(percent: number, ns: bigint): bigint {
    return this.#scale((PRICES_13.computePerPercentSecond * BigInt(percent) * ns) / 1_000_000_000n);
  }

  /** HTTPS outcall; the formula has the number of nodes inside. */
  httpRequest(requestBytes: bigint, responseBytesMax: bigint): bigint {
    const n = this.nodes;
    return (3_000_000n + 60_000n * n) * n + (400n * requestBytes + 800n * responseBytesMax) * n;
  }

  /** A signature or derived key of the key of a name. */
  thresholdKey(keyName: string): bigint {
    // The production key of the ICP is one of 34 nodes, whatever subnet asks.
    if (keyName === "key_1")
      return (PRICES_13.thresholdSignature * PRODUCTION_KEY_NODES) / REFERENCE_NODES;
    return this.#scale(PRICES_13.thresholdSignature);
  }

  /** GPU job of so many multiply-adds. */
  gpuJob(macs: bigint): bigint {
    return this.#scale(PRICES_13.gpuJobBase + (PRICES_13.gpuPerGigaMac * macs) / 1_000_000_000n);
  }

  /** What the system API must know while it runs. */
  forExecution(isWasm64: boolean): ExecutionPrices {
    return {
      callBase: this.#scale(PRICES_13.callBase),
      callPerByte: this.#scale(PRICES_13.callPerByte),
      responseReservation: this.transmission(REPLY_BYTES_MAX),
      callbackReservation: this.execution(UPDATE_INSTRUCTIONS_MAX, isWasm64),
      createCanister: this.createCanister,
      httpRequest: (requestBytes, responseBytesMax) =>
        this.httpRequest(requestBytes, responseBytesMax),
      signature: (kind, keyName, algorithm) => {
        if (algorithm > (kind === "schnorr" ? 1 : 0)) return "badAlgorithm";
        return isKeyName(keyName) ? this.thresholdKey(keyName) : undefined;
      },
    };
  }

  #scale(amount: bigint): bigint {
    return (amount * this.nodes) / REFERENCE_NODES;
  }
}

function isKeyName(name: string): boolean {
  return THRESHOLD_KEY_NAMES.some((known) => known === name);
}
