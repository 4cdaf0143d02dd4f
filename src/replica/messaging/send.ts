// Sending the calls that an execution made: callback records, reservations, routing to the callee's
// inbox. The queue to one callee is bounded by the number of its unanswered calls.

import { assert, equalBytes, QUEUE_MESSAGES_MAX } from "gyrotron/base";
import type { OutgoingCall } from "gyrotron/canister";
import type { BlockContext } from "../block-context.ts";
import { charge } from "../cycles/balance.ts";
import { isNativeCanister } from "../native-canisters.ts";
import { canisterNotFound } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { answer } from "./answer.ts";

const NS_PER_SECOND = 1_000_000_000n;

/** How many more calls the canister may have open to `callee`. */
export function queueCapacity(canister: CanisterRecord, callee: Uint8Array): number {
  return QUEUE_MESSAGES_MAX - (findOutstanding(canister, callee)?.count ?? 0);
}

/** Takes the call's cycles, remembers its callback and puts it into the callee's inbox. */
export function sendCall(
  context: BlockContext,
  caller: CanisterRecord,
  contextNumber: bigint,
  call: OutgoingCall,
): void {
  charge(caller, "transmission", call.transmissionCharge + call.responseReserved);
  charge(caller, "instructions", call.callbackReserved);
  assert(call.cycles <= caller.cycles, "attached cycles exceed the balance");
  caller.cycles -= call.cycles;

  const number = caller.nextCallback++;
  const deadlineNs =
    call.timeoutSeconds === undefined
      ? 0n
      : context.timeNs + BigInt(call.timeoutSeconds) * NS_PER_SECOND;
  context.state.putCallback(caller.id, number, {
    context: contextNumber,
    callee: call.callee,
    onReply: call.onReply,
    onReject: call.onReject,
    onCleanup: call.onCleanup,
    cyclesSent: call.cycles,
    responseReserved: call.responseReserved,
    callbackReserved: call.callbackReserved,
    deadlineNs,
  });
  countOutstanding(caller, call.callee, 1);

  const origin = { kind: "canister", canisterId: caller.id, callback: number } as const;
  if (!isNativeCanister(call.callee) && context.state.canister(call.callee) === undefined) {
    answer(context, origin, canisterNotFound(call.callee), call.cycles);
    return;
  }
  context.state.pushMessage(call.callee, {
    kind: "request",
    sender: caller.id,
    callback: number,
    method: call.method,
    argument: call.argument,
    cycles: call.cycles,
    deadlineNs,
  });
}

/** Counts calls to `callee` that are open. */
export function countOutstanding(
  canister: CanisterRecord,
  callee: Uint8Array,
  change: 1 | -1,
): void {
  const found = findOutstanding(canister, callee);
  if (found === undefined) {
    assert(change === 1, "no open call to this callee");
    canister.outstandingCalls.push({ callee, count: 1 });
    return;
  }
  found.count += change;
  assert(found.count >= 0, "open calls are not negative");
  if (found.count === 0)
    canister.outstandingCalls.splice(canister.outstandingCalls.indexOf(found), 1);
}

function findOutstanding(
  canister: CanisterRecord,
  callee: Uint8Array,
): { callee: Uint8Array; count: number } | undefined {
  return canister.outstandingCalls.find((entry) => equalBytes(entry.callee, callee));
}
