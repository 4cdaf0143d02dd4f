// Every system call in every mode, against the table of the IC specification as written there.

import { deepEqual, equal } from "node:assert/strict";
import { describe, test } from "node:test";
import { ic0Names } from "gyrotron/canister";
import { TestCanister, importsOf } from "../../../test/canister/fixture.ts";
import type { ExecutionMode } from "../contract.ts";
import { MODE_NAME } from "./mode.ts";
import { SYSTEM_CALL_NAMES } from "./rules.ts";

/** `names | contexts`; the contexts' letters as in the specification, `*` all but start. */
const SPECIFICATION = `
msg_arg_data_size msg_arg_data_copy | I U RQ NRQ TQ CQ Ry CRy F
msg_caller_size msg_caller_copy | *
msg_caller_info_data_size msg_caller_info_data_copy msg_caller_info_signer_size msg_caller_info_signer_copy | U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_reject_code | Ry Rt CRy CRt C
msg_reject_msg_size msg_reject_msg_copy | Rt CRt
msg_deadline | U RQ NRQ CQ Ry Rt CRy CRt
msg_reply_data_append msg_reply msg_reject | U RQ NRQ TQ CQ Ry Rt CRy CRt
msg_cycles_available128 msg_cycles_available msg_cycles_accept128 msg_cycles_accept | U RQ Rt Ry
msg_cycles_refunded128 msg_cycles_refunded | Rt Ry
cycles_burn128 | I G U RQ Ry Rt C T
canister_self_size canister_self_copy subnet_self_size subnet_self_copy | *
canister_cycle_balance128 canister_cycle_balance canister_liquid_cycle_balance128 | *
canister_status canister_version time data_certificate_present | *
msg_method_name_size msg_method_name_copy accept_message | F
call_new call_on_cleanup call_data_append call_with_best_effort_response call_perform | U CQ Ry Rt CRy CRt T
call_cycles_add128 call_cycles_add mint_cycles128 | U Ry Rt T
stable64_size stable64_grow stable64_write stable64_read stable_size stable_grow stable_write stable_read | * s
root_key_size root_key_copy | I G U RQ Ry Rt C T
certified_data_set | I G U Ry Rt T
data_certificate_size data_certificate_copy | NRQ CQ
global_timer_set | I G U Ry Rt C T
performance_counter is_controller in_replicated_execution | * s
cost_call cost_create_canister cost_http_request cost_sign_with_ecdsa cost_sign_with_schnorr cost_vetkd_derive_key | * s
env_var_count env_var_name_size env_var_name_copy env_var_name_exists env_var_value_size env_var_value_copy | *
debug_print trap | * s`;

const LETTERS: Readonly<Record<ExecutionMode, string>> = {
  start: "s",
  init: "I",
  postUpgrade: "I",
  preUpgrade: "G",
  update: "U",
  replicatedQuery: "RQ",
  query: "NRQ",
  httpTransform: "TQ",
  compositeQuery: "CQ",
  replyCallback: "Ry",
  rejectCallback: "Rt",
  compositeReplyCallback: "CRy",
  compositeRejectCallback: "CRt",
  cleanup: "C",
  compositeCleanup: "CC",
  inspectMessage: "F",
  heartbeat: "T",
  globalTimer: "T",
  onLowWasmMemory: "T",
};

const contextsOf: ReadonlyMap<string, readonly string[]> = new Map(
  SPECIFICATION.trim()
    .split("\n")
    .flatMap((line) => {
      const [names = "", contexts = ""] = line.split(" | ");
      return names.split(" ").map((name) => [name, contexts.split(" ")] as const);
    }),
);

test("the runtime, the validator and the specification name the same calls", () => {
  deepEqual([...SYSTEM_CALL_NAMES].sort(), [...contextsOf.keys()].sort());
  deepEqual([...SYSTEM_CALL_NAMES].sort(), ic0Names("i32").sort());
});

describe("contexts", () => {
  for (const address of ["i32", "i64"] as const) {
    const names = ic0Names(address);
    const canister = TestCanister.install(`(module
      ${importsOf(address, ...names)}
      (memory ${address} 1)
      ${names.map((name) => callWithZeros(name, address)).join("\n")})`);
    for (const name of names) {
      test(`${name} with ${address} pointers`, () => {
        const contexts = contextsOf.get(name) ?? [];
        for (const [mode, letter] of Object.entries(LETTERS) as [ExecutionMode, string][]) {
          const result = canister.update(name, { mode, growableBytes: 0n });
          const message = result.kind === "trapped" ? result.trap.message : "";
          const refused = message.startsWith(
            `Canister violated contract: "ic0_${name}" cannot be executed in ${MODE_NAME[mode]} mode.\n`,
          );
          const allowed = contexts.includes(letter) || (contexts.includes("*") && mode !== "start");
          equal(refused, !allowed, `${mode}: ${message}`);
        }
      });
    }
  }
});

/** An exported function that makes the call with zeros for arguments. */
function callWithZeros(name: string, address: "i32" | "i64"): string {
  const signature = importsOf(address, name);
  const params = /\(param ([^)]*)\)/.exec(signature)?.[1]?.split(" ").filter(Boolean) ?? [];
  const zeros = params.map((type) => `(${type}.const 0)`).join(" ");
  const call = `(call $${name} ${zeros})`;
  const hasResult = !signature.includes("(result )");
  return `(func (export "canister_update ${name}") ${hasResult ? `(drop ${call})` : call})`;
}
