// System calls that quote prices; the prices themselves come with the execution's context.

import { utf8Text } from "gyrotron/base";
import { contractViolation, raise } from "../runtime/trap.ts";
import type { Host } from "./host.ts";
import { RULES, type SystemCall, type SystemCalls } from "./rules.ts";

type KeyCall = "cost_sign_with_ecdsa" | "cost_sign_with_schnorr" | "cost_vetkd_derive_key";

/** Results of the quotes for signatures. */
const QUOTED = 0;
const UNKNOWN_ALGORITHM = 1;
const UNKNOWN_KEY_NAME = 2;

/** The calls of this file. */
export function costCalls(
  host: Host,
): SystemCalls<KeyCall | "cost_call" | "cost_create_canister" | "cost_http_request"> {
  return {
    cost_call: (nameBytes: bigint, payloadBytes: bigint, target: number | bigint) => {
      const e = host.enter(RULES.cost_call);
      const { prices } = e.context;
      const size = BigInt.asUintN(64, nameBytes) + BigInt.asUintN(64, payloadBytes);
      const cost =
        prices.callBase +
        prices.callPerByte * size +
        prices.responseReservation +
        prices.callbackReservation;
      e.copyOutU128("ic0.cost_call", cost, target);
    },
    cost_create_canister: (target: number | bigint) => {
      const e = host.enter(RULES.cost_create_canister);
      e.copyOutU128("ic0.cost_create_canister", e.context.prices.createCanister, target);
    },
    cost_http_request: (requestBytes: bigint, responseBytes: bigint, target: number | bigint) => {
      const e = host.enter(RULES.cost_http_request);
      const request = BigInt.asUintN(64, requestBytes);
      const cost = e.context.prices.httpRequest(request, BigInt.asUintN(64, responseBytes));
      e.copyOutU128("ic0.cost_http_request", cost, target);
    },
    cost_sign_with_ecdsa: keyCost(host, "cost_sign_with_ecdsa", "ecdsa"),
    cost_sign_with_schnorr: keyCost(host, "cost_sign_with_schnorr", "schnorr"),
    cost_vetkd_derive_key: keyCost(host, "cost_vetkd_derive_key", "vetkd"),
  };
}

function keyCost(host: Host, name: KeyCall, kind: "ecdsa" | "schnorr" | "vetkd"): SystemCall {
  const rule = RULES[name];
  return (
    source: number | bigint,
    size: number | bigint,
    algorithm: number,
    target: number | bigint,
  ) => {
    const e = host.enter(rule);
    const keyName = utf8Text(e.read(`ic0.${name}`, source, size));
    if (keyName === undefined) raise(contractViolation(`ic0.${name}: key name is not valid UTF-8`));
    const price = e.context.prices.signature(kind, keyName, algorithm >>> 0);
    if (price === "badAlgorithm") return UNKNOWN_ALGORITHM;
    if (price === undefined) return UNKNOWN_KEY_NAME;
    e.copyOutU128(`ic0.${name}`, price, target);
    return QUOTED;
  };
}
