// System calls that answer the call context: reply data, reply, reject.

import { QUERY_REPLY_BYTES_MAX, REPLY_BYTES_MAX, utf8Text } from "gyrotron/base";
import { contractViolation, raise } from "../runtime/trap.ts";
import { type Execution, unsigned } from "./execution.ts";
import type { Host } from "./host.ts";
import { RULES, type SystemCalls } from "./rules.ts";

/** The calls of this file. */
export function replyCalls(
  host: Host,
): SystemCalls<"msg_reply_data_append" | "msg_reply" | "msg_reject"> {
  return {
    msg_reply_data_append: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.msg_reply_data_append);
      refuseSecondReply(e, "msg_reply_data_append");
      checkSize(e, "msg_reply_data_append", e.reply.length + unsigned(size));
      e.reply.append(e.read("msg.reply", source, size));
    },
    msg_reply: () => {
      const e = host.enter(RULES.msg_reply);
      refuseSecondReply(e, "msg_reply");
      e.response = { kind: "reply", bytes: e.reply.join() };
    },
    msg_reject: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.msg_reject);
      refuseSecondReply(e, "msg_reject");
      checkSize(e, "msg_reject", unsigned(size));
      const message = utf8Text(e.read("ic0.msg_reject", source, size));
      if (message === undefined) {
        raise(contractViolation("ic0.msg_reject: invalid UTF-8 string provided"));
      }
      e.response = { kind: "reject", message };
    },
  };
}

function refuseSecondReply(e: Execution, name: string): void {
  if (e.hasResponded) raise(contractViolation(`ic0.${name}: the call is already replied`));
}

function checkSize(e: Execution, name: string, size: number): void {
  const limit = e.isLocal ? QUERY_REPLY_BYTES_MAX : REPLY_BYTES_MAX;
  if (size <= limit) return;
  const text = `application payload size (${BigInt(size)}) cannot be larger than ${limit}.`;
  raise(contractViolation(`ic0.${name}: ${text}`));
}
