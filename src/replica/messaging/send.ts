// Sending the calls that an execution made: callback records, reservations, routing to the callee's
// inbox. The queue to one callee is bounded by the number of its unanswered calls.

import { assert, formatHex, QUEUE_MESSAGES_MAX } from "gyrotron/base";
import type { OutgoingCall } from "gyrotron/canister";
import type { BlockContext } from "../block-context.ts";
import { charge } from "../cycles/balance.ts";
import { isNativeCanister } from "../native-canisters.ts";
import { canisterNotFound } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { answer } from "./answer.ts";

const NS_PER_SECOND = 1_000_000_000n;
/** Calls that one canister may have open to all callees before it starts an execution (ours). */
const OPEN_CALLS_MAX = 10_000;
/** What the queued bytes of a call count towards the instructions of a round: they stay in memory until its end. */
const INSTRUCTIONS_PER_BYTE = 10n;

type OpenCalls = CanisterRecord["outstandingCalls"][number];

/** How many more calls the canister may have open to `callee`. */
export function queueCapacity(canister: CanisterRecord, callee: Uint8Array): number {
  const { byCallee, total } = indexOf(canister);
  if (total >= OPEN_CALLS_MAX) return 0;
  return QUEUE_MESSAGES_MAX - (byCallee.get(formatHex(callee))?.count ?? 0);
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

  context.instructionsUsed += BigInt(call.argument.length) * INSTRUCTIONS_PER_BYTE;

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
  const index = indexOf(canister);
  const name = formatHex(callee);
  const found = index.byCallee.get(name);
  index.total += change;
  if (found === undefined) {
    assert(change === 1, "no open call to this callee");
    const added = { callee, count: 1 };
    index.byCallee.set(name, added);
    canister.outstandingCalls.push(added);
    return;
  }
  found.count += change;
  assert(found.count >= 0, "open calls are not negative");
  if (found.count > 0) return;
  index.byCallee.delete(name);
  canister.outstandingCalls.splice(canister.outstandingCalls.indexOf(found), 1);
}

/** The open calls of a record by callee: lists of thousands are looked up thousands of times. */
const indexes = new WeakMap<OpenCalls[], { byCallee: Map<string, OpenCalls>; total: number }>();

function indexOf({ outstandingCalls }: CanisterRecord): {
  byCallee: Map<string, OpenCalls>;
  total: number;
} {
  let index = indexes.get(outstandingCalls);
  if (index === undefined) {
    const byCallee = new Map(outstandingCalls.map((open) => [formatHex(open.callee), open]));
    const total = outstandingCalls.reduce((sum, { count }) => sum + count, 0);
    indexes.set(outstandingCalls, (index = { byCallee, total }));
  }
  return index;
}
