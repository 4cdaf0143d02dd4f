// System calls that move or show cycles of the running call; prices are in costs.ts.

import { contractViolation, raise, trapped } from "../runtime/trap.ts";
import type { Execution } from "./execution.ts";
import type { Host } from "./host.ts";
import { RULES, type SystemCalls } from "./rules.ts";

type Names =
  | "msg_cycles_available128"
  | "msg_cycles_available"
  | "msg_cycles_refunded128"
  | "msg_cycles_refunded"
  | "msg_cycles_accept128"
  | "msg_cycles_accept"
  | "cycles_burn128"
  | "mint_cycles128"
  | "canister_cycle_balance128"
  | "canister_cycle_balance"
  | "canister_liquid_cycle_balance128";

/** The calls of this file. */
export function cyclesCalls(host: Host): SystemCalls<Names> {
  return {
    msg_cycles_available128: (target: number | bigint) => {
      const e = host.enter(RULES.msg_cycles_available128);
      e.copyOutU128("ic0.msg_cycles_available128", e.cyclesAvailable, target);
    },
    msg_cycles_available: () => narrow(host.enter(RULES.msg_cycles_available).cyclesAvailable),
    msg_cycles_refunded128: (target: number | bigint) => {
      const e = host.enter(RULES.msg_cycles_refunded128);
      e.copyOutU128("ic0.msg_cycles_refunded128", e.context.cyclesRefunded, target);
    },
    msg_cycles_refunded: () => narrow(host.enter(RULES.msg_cycles_refunded).context.cyclesRefunded),
    msg_cycles_accept128: (high: bigint, low: bigint, target: number | bigint) => {
      const e = host.enter(RULES.msg_cycles_accept128);
      e.copyOutU128("ic0.msg_cycles_accept128", accept(e, join(high, low)), target);
    },
    msg_cycles_accept: (limit: bigint) =>
      accept(host.enter(RULES.msg_cycles_accept), BigInt.asUintN(64, limit)),
    cycles_burn128: (high: bigint, low: bigint, target: number | bigint) => {
      const e = host.enter(RULES.cycles_burn128);
      const burned = least(join(high, low), e.liquidBalance);
      e.balance -= burned;
      e.cyclesBurned += burned;
      e.copyOutU128("ic0.cycles_burn128", burned, target);
    },
    mint_cycles128: () => {
      host.enter(RULES.mint_cycles128);
      raise(
        contractViolation("ic0.mint_cycles128 cannot be executed on non Cycles Minting Canister"),
      );
    },
    canister_cycle_balance128: (target: number | bigint) => {
      const e = host.enter(RULES.canister_cycle_balance128);
      e.copyOutU128("ic0.canister_cycle_balance128", e.balance, target);
    },
    canister_cycle_balance: () => narrow(host.enter(RULES.canister_cycle_balance).balance),
    canister_liquid_cycle_balance128: (target: number | bigint) => {
      const e = host.enter(RULES.canister_liquid_cycle_balance128);
      e.copyOutU128("ic0.canister_liquid_cycle_balance128", e.liquidBalance, target);
    },
  };
}

/** The 128-bit number of two halves as Wasm passes them. */
export function join(high: bigint, low: bigint): bigint {
  return (BigInt.asUintN(64, high) << 64n) | BigInt.asUintN(64, low);
}

function accept(e: Execution, limit: bigint): bigint {
  const accepted = least(limit, e.cyclesAvailable);
  e.cyclesAccepted += accepted;
  e.balance += accepted;
  return accepted;
}

function narrow(amount: bigint): bigint {
  if (amount >> 64n !== 0n) raise(trapped("cycles amount exceeds 64-bit representation"));
  return amount;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
