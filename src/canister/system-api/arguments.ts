// System calls that read what came with the message: argument, caller, reject, deadline, method.

import { EMPTY_BYTES, utf8Bytes } from "gyrotron/base";
import { contractViolation, raise } from "../runtime/trap.ts";
import type { Execution } from "./execution.ts";
import type { Host } from "./host.ts";
import { RULES, type SystemCall, type SystemCallName, type SystemCalls } from "./rules.ts";

type Names =
  | "msg_arg_data_size"
  | "msg_arg_data_copy"
  | "msg_caller_size"
  | "msg_caller_copy"
  | "msg_caller_info_data_size"
  | "msg_caller_info_data_copy"
  | "msg_caller_info_signer_size"
  | "msg_caller_info_signer_copy"
  | "msg_reject_code"
  | "msg_reject_msg_size"
  | "msg_reject_msg_copy"
  | "msg_deadline"
  | "msg_method_name_size"
  | "msg_method_name_copy"
  | "accept_message";

/** The calls of this file. */
export function argumentCalls(host: Host): SystemCalls<Names> {
  const argument = (e: Execution): Uint8Array => e.context.argument;
  const caller = (e: Execution): Uint8Array => e.context.caller;
  const infoData = (e: Execution): Uint8Array => e.context.callerInfo?.data ?? EMPTY_BYTES;
  const infoSigner = (e: Execution): Uint8Array => e.context.callerInfo?.signer ?? EMPTY_BYTES;
  const rejectText = (e: Execution): Uint8Array => utf8Bytes(e.context.reject?.message ?? "");
  const methodName = (e: Execution): Uint8Array => utf8Bytes(e.context.methodName ?? "");
  return {
    msg_arg_data_size: sizeCall(host, "msg_arg_data_size", argument),
    msg_arg_data_copy: copyCall(host, "msg_arg_data_copy", argument),
    msg_caller_size: sizeCall(host, "msg_caller_size", caller),
    msg_caller_copy: copyCall(host, "msg_caller_copy", caller),
    msg_caller_info_data_size: sizeCall(host, "msg_caller_info_data_size", infoData),
    msg_caller_info_data_copy: copyCall(host, "msg_caller_info_data_copy", infoData),
    msg_caller_info_signer_size: sizeCall(host, "msg_caller_info_signer_size", infoSigner),
    msg_caller_info_signer_copy: copyCall(host, "msg_caller_info_signer_copy", infoSigner),
    msg_reject_code: () => host.enter(RULES.msg_reject_code).context.reject?.code ?? 0,
    msg_reject_msg_size: sizeCall(host, "msg_reject_msg_size", rejectText),
    msg_reject_msg_copy: copyCall(host, "msg_reject_msg_copy", rejectText),
    msg_deadline: () => host.enter(RULES.msg_deadline).context.deadlineNs,
    msg_method_name_size: sizeCall(host, "msg_method_name_size", methodName),
    msg_method_name_copy: copyCall(host, "msg_method_name_copy", methodName),
    accept_message: () => {
      const e = host.enter(RULES.accept_message);
      if (e.accepted)
        raise(contractViolation("ic0.accept_message: the function was already called."));
      e.accepted = true;
    },
  };
}

/** A call `() -> I` that gives the size of a byte string. */
export function sizeCall(
  host: Host,
  name: SystemCallName,
  bytesOf: (execution: Execution) => Uint8Array,
): SystemCall {
  const rule = RULES[name];
  return () => {
    const e = host.enter(rule);
    return e.index(bytesOf(e).length);
  };
}

/** A call `(dst, offset, size : I) -> ()` that copies part of a byte string. */
export function copyCall(
  host: Host,
  name: SystemCallName,
  bytesOf: (execution: Execution) => Uint8Array,
): SystemCall {
  const rule = RULES[name];
  const what = `ic0.${name}`;
  return (target: number | bigint, offset: number | bigint, size: number | bigint) => {
    const e = host.enter(rule);
    e.copyOut(what, bytesOf(e), target, offset, size);
  };
}
