// External tasks: work whose result does not come from the state machine itself. One mechanism for
// all kinds: recorded in state, agreed on, then delivered, expired or cancelled. Of the kinds so far,
// raw_rand is answered by the randomness of a later block.

import { concatBytes, present, u64BigEndian, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import { encodeCandid, IDL } from "gyrotron/candid";
import type { BlockContext } from "../block-context.ts";
import type { CallOrigin, ExternalTask } from "../state/records.ts";
import { answer } from "./answer.ts";

const TASK_DEADLINE_NS = 300_000_000_000n;
const RAW_RAND_DOMAIN = utf8Bytes("gyrotron-raw-rand");

/** Records a task; its answer comes in a later block. */
export function recordTask(
  context: BlockContext,
  call: { origin: CallOrigin; cycles: bigint },
  work: ExternalTask["work"],
): "later" {
  const system = context.state.system();
  const number = system.nextTaskNumber++;
  context.state.putSystem(system);
  const deadlineNs = context.timeNs + TASK_DEADLINE_NS;
  context.state.putTask({ number, origin: call.origin, refund: call.cycles, deadlineNs, work });
  return "later";
}

/** Answers the tasks that this block settles. Runs before anything else in the block, so none of them is new. */
export function settleTasks(context: BlockContext): void {
  for (const number of context.state.taskNumbers()) {
    const task = present(context.state.task(number), "a listed task exists");
    context.state.deleteTask(number);
    const random = sha256(concatBytes(RAW_RAND_DOMAIN, context.randomness, u64BigEndian(number)));
    const bytes = encodeCandid([IDL.Vec(IDL.Nat8)], [random]);
    answer(context, task.origin, { kind: "reply", bytes }, task.refund);
  }
}
