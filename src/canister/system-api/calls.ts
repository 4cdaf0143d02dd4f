// System calls that make inter-canister calls. A call is only a record until the execution finishes;
// the replica then queues it. Reserved amounts: docs/spec/06-canister-runtime.md §7.

import {
  BEST_EFFORT_TIMEOUT_SECONDS_MAX,
  CALL_METHOD_NAME_BYTES_MAX,
  LOCAL_PAYLOAD_BYTES_MAX,
  MIB,
  PRINCIPAL_BYTES_MAX,
  formatHex,
  utf8Bytes,
  utf8TextLossy,
} from "gyrotron/base";
import { contractViolation, raise, violationText } from "../runtime/trap.ts";
import { join } from "./cycles.ts";
import { ByteParts, type Execution, type PendingCall, unsigned } from "./execution.ts";
import type { Host } from "./host.ts";
import { RULES, type SystemCalls } from "./rules.ts";
import { checkSenderVersion } from "./sender-version.ts";

type Names =
  | "call_new"
  | "call_on_cleanup"
  | "call_data_append"
  | "call_with_best_effort_response"
  | "call_cycles_add128"
  | "call_cycles_add"
  | "call_perform";

/** Results of call_perform: enqueued, or not (queue full or too few cycles). */
const PERFORMED = 0;
const NOT_PERFORMED = 2;
/** Calls of one execution and bytes of their arguments: they wait in memory until it finishes (ours). */
const CALLS_MAX = 5_000;
const CALL_BYTES_MAX: number = 64 * MIB;

/** The calls of this file. `formatPrincipal` gives the text of a canister id. */
export function outgoingCalls(
  host: Host,
  formatPrincipal: (id: Uint8Array) => string,
): SystemCalls<Names> {
  const addCycles = (e: Execution, name: string, amount: bigint): void => {
    const call = pending(e, name);
    if (amount > e.liquidBalance) {
      const missing = amount - e.liquidBalance;
      const id = formatPrincipal(e.context.canisterId);
      raise(
        violationText(
          `Canister ${id} is out of cycles: please top up the canister with at least ${missing} additional cycles`,
        ),
      );
    }
    e.balance -= amount;
    call.cycles += amount;
  };
  return {
    call_new: (...args: readonly (number | bigint)[]) => {
      const e = host.enter(RULES.call_new);
      dropPending(e);
      e.pendingCall = newCall(e, args);
    },
    call_on_cleanup: (tableIndex: number | bigint, environment: number | bigint) => {
      const e = host.enter(RULES.call_on_cleanup);
      const call = pending(e, "call_on_cleanup");
      if (call.onCleanup !== undefined) raise(onceOnly("call_on_cleanup"));
      call.onCleanup = closure(e, tableIndex, environment);
    },
    call_data_append: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.call_data_append);
      const call = pending(e, "call_data_append");
      const total = utf8Bytes(call.method).length + call.argument.length + unsigned(size);
      if (total > LOCAL_PAYLOAD_BYTES_MAX) {
        const target = `${formatPrincipal(call.callee)}:${call.method}`;
        const text = `has a payload size of ${BigInt(total)}, which exceeds the allowed limit of ${LOCAL_PAYLOAD_BYTES_MAX}.`;
        raise(contractViolation(`Request to ${target} ${text}`));
      }
      call.argument.append(e.read("ic0.call_data_append", source, size));
    },
    call_with_best_effort_response: (timeoutSeconds: number) => {
      const e = host.enter(RULES.call_with_best_effort_response);
      const call = pending(e, "call_with_best_effort_response");
      if (call.timeoutSeconds !== undefined) raise(onceOnly("call_with_best_effort_response"));
      call.timeoutSeconds = Math.min(timeoutSeconds >>> 0, BEST_EFFORT_TIMEOUT_SECONDS_MAX);
    },
    call_cycles_add128: (high: bigint, low: bigint) => {
      addCycles(host.enter(RULES.call_cycles_add128), "call_cycles_add128", join(high, low));
    },
    call_cycles_add: (amount: bigint) => {
      addCycles(host.enter(RULES.call_cycles_add), "call_cycles_add", BigInt.asUintN(64, amount));
    },
    call_perform: () => {
      const e = host.enter(RULES.call_perform);
      return perform(e, pending(e, "call_perform"));
    },
  };
}

function newCall(e: Execution, args: readonly (number | bigint)[]): PendingCall {
  const [calleeAt = 0, calleeSize = 0, nameAt = 0, nameSize = 0] = args;
  const [replyFunction = 0, replyEnvironment = 0, rejectFunction = 0, rejectEnvironment = 0] =
    args.slice(4);
  if (unsigned(nameSize) > CALL_METHOD_NAME_BYTES_MAX) {
    const size = BigInt(unsigned(nameSize));
    const text = `Size of method_name ${size} exceeds the allowed limit of ${CALL_METHOD_NAME_BYTES_MAX}.`;
    raise(contractViolation(`ic0.call_new: ${text}`));
  }
  const method = utf8TextLossy(e.read("ic0.call_new method_name", nameAt, nameSize));
  const callee = e.read("ic0.call_new callee_src", calleeAt, calleeSize);
  if (callee.length > PRINCIPAL_BYTES_MAX) {
    raise(violationText("Canister provided invalid principal id"));
  }
  return {
    callee,
    method,
    argument: new ByteParts(),
    cycles: 0n,
    onReply: closure(e, replyFunction, replyEnvironment),
    onReject: closure(e, rejectFunction, rejectEnvironment),
    onCleanup: undefined,
    timeoutSeconds: undefined,
  };
}

function perform(e: Execution, call: PendingCall): number {
  const { prices } = e.context;
  const argument = call.argument.join();
  checkSenderVersion(call.callee, call.method, argument, e.context.version);
  const size = BigInt(argument.length + utf8Bytes(call.method).length);
  const transmissionCharge = e.isComposite ? 0n : prices.callBase + prices.callPerByte * size;
  const responseReserved = e.isComposite ? 0n : prices.responseReservation;
  const callbackReserved = e.isComposite ? 0n : prices.callbackReservation;
  const total = transmissionCharge + responseReserved + callbackReserved;
  const calleeKey = formatHex(call.callee);
  const queued = e.queuedByCallee.get(calleeKey) ?? 0;
  const isFull =
    e.calls.length === CALLS_MAX ||
    e.callBytes + argument.length > CALL_BYTES_MAX ||
    e.context.queueCapacity(call.callee) <= queued;
  if (isFull || (total > 0n && total > e.liquidBalance)) {
    dropPending(e);
    return NOT_PERFORMED;
  }
  e.callBytes += argument.length;
  e.balance -= total;
  e.pendingCall = undefined;
  e.queuedByCallee.set(calleeKey, queued + 1);
  e.calls.push({ ...call, argument, transmissionCharge, responseReserved, callbackReserved });
  return PERFORMED;
}

/** The call being built. @throws TrapSignal if there is none */
function pending(e: Execution, name: string): PendingCall {
  if (e.pendingCall === undefined) {
    raise(contractViolation(`ic0.${name} called when no call is under construction.`));
  }
  return e.pendingCall;
}

/** Drops the call being built; its cycles return to the balance. */
function dropPending(e: Execution): void {
  if (e.pendingCall !== undefined) e.balance += e.pendingCall.cycles;
  e.pendingCall = undefined;
}

function closure(
  e: Execution,
  tableIndex: number | bigint,
  environment: number | bigint,
): PendingCall["onReply"] {
  const bits = e.heap.wide ? 64 : 32;
  return {
    tableIndex: BigInt.asUintN(bits, BigInt(tableIndex)),
    environment: BigInt.asUintN(bits, BigInt(environment)),
  };
}

function onceOnly(name: string): ReturnType<typeof contractViolation> {
  return contractViolation(
    `ic0.${name} can be called at most once between \`ic0.call_new\` and \`ic0.call_perform\``,
  );
}
