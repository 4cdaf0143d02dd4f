// One row per system call: in which modes it may run and what it costs before its bytes. This table
// is the list of what is implemented; signatures belong to the validator.

import { modeMask } from "./mode.ts";

/** Where a system call may run (mask of modes) and its fixed cost in instructions. */
export interface SystemCallRule {
  readonly name: string;
  readonly modes: number;
  readonly cost: number;
}

/** Lists of modes that several rows share. */
const SHARED_MODES: Readonly<Record<string, string>> = {
  replying: "U RQ NRQ TQ CQ Ry Rt CRy CRt",
  calling: "U CQ Ry Rt CRy CRt T",
  callerInfo: "U RQ NRQ CQ Ry Rt CRy CRt C CC F",
};
const DEFAULT_COST = 500;

/** Modes in the letters of the IC specification, and a cost other than the usual one. */
const ROWS = {
  msg_arg_data_size: ["I U RQ NRQ TQ CQ Ry CRy F"],
  msg_arg_data_copy: ["I U RQ NRQ TQ CQ Ry CRy F"],
  msg_caller_size: ["*"],
  msg_caller_copy: ["*"],
  msg_caller_info_data_size: ["callerInfo"],
  msg_caller_info_data_copy: ["callerInfo"],
  msg_caller_info_signer_size: ["callerInfo"],
  msg_caller_info_signer_copy: ["callerInfo"],
  msg_reject_code: ["Ry Rt CRy CRt C"],
  msg_reject_msg_size: ["Rt CRt"],
  msg_reject_msg_copy: ["Rt CRt"],
  msg_deadline: ["U RQ NRQ CQ Ry Rt CRy CRt"],
  msg_method_name_size: ["F"],
  msg_method_name_copy: ["F"],
  accept_message: ["F"],

  msg_reply_data_append: ["replying"],
  msg_reply: ["replying"],
  msg_reject: ["replying"],

  msg_cycles_available128: ["U RQ Rt Ry"],
  msg_cycles_available: ["U RQ Rt Ry"],
  msg_cycles_refunded128: ["Rt Ry"],
  msg_cycles_refunded: ["Rt Ry"],
  msg_cycles_accept128: ["U RQ Rt Ry"],
  msg_cycles_accept: ["U RQ Rt Ry"],
  cycles_burn128: ["I G U RQ Ry Rt C T"],
  canister_cycle_balance128: ["*"],
  canister_cycle_balance: ["*"],
  canister_liquid_cycle_balance128: ["*"],

  call_new: ["calling", 1500],
  call_on_cleanup: ["calling"],
  call_data_append: ["calling"],
  call_with_best_effort_response: ["calling"],
  call_cycles_add128: ["U Ry Rt T"],
  call_cycles_add: ["U Ry Rt T"],
  call_perform: ["calling", 5000],

  stable64_size: ["* s", 200],
  stable64_grow: ["* s"],
  stable64_write: ["* s", 1500],
  stable64_read: ["* s", 1000],
  stable_size: ["* s", 200],
  stable_grow: ["* s"],
  stable_write: ["* s", 1500],
  stable_read: ["* s", 1000],

  canister_self_size: ["*"],
  canister_self_copy: ["*"],
  subnet_self_size: ["*"],
  subnet_self_copy: ["*"],
  canister_status: ["*"],
  canister_version: ["*"],
  root_key_size: ["I G U RQ Ry Rt C T"],
  root_key_copy: ["I G U RQ Ry Rt C T"],
  certified_data_set: ["I G U Ry Rt T"],
  data_certificate_present: ["*"],
  data_certificate_size: ["NRQ CQ"],
  data_certificate_copy: ["NRQ CQ"],
  time: ["*"],
  global_timer_set: ["I G U Ry Rt C T"],
  performance_counter: ["* s", 200],
  is_controller: ["* s", 1000],
  in_replicated_execution: ["* s"],
  env_var_count: ["*"],
  env_var_name_size: ["*"],
  env_var_name_copy: ["*"],
  env_var_name_exists: ["*"],
  env_var_value_size: ["*"],
  env_var_value_copy: ["*"],

  cost_call: ["* s"],
  cost_create_canister: ["* s"],
  cost_http_request: ["* s"],
  cost_sign_with_ecdsa: ["* s"],
  cost_sign_with_schnorr: ["* s"],
  cost_vetkd_derive_key: ["* s"],

  mint_cycles128: ["U Ry Rt T"],
  debug_print: ["* s", 100],
  trap: ["* s"],
} as const;

/** Name of a system call, without `ic0_`. */
export type SystemCallName = keyof typeof ROWS;

/** Every implemented system call. */
export const SYSTEM_CALL_NAMES: readonly SystemCallName[] = Object.keys(ROWS) as SystemCallName[];

/** Rules by name. */
export const RULES: Readonly<Record<SystemCallName, SystemCallRule>> = Object.fromEntries(
  Object.entries(ROWS).map(([name, [letters, cost = DEFAULT_COST]]) => {
    const modes = modeMask(SHARED_MODES[letters] ?? letters);
    return [name, { name, modes, cost }];
  }),
) as Record<SystemCallName, SystemCallRule>;

/** A system call as V8 sees it: integers of both widths, at most one result. */
export type SystemCall = (...arguments_: never[]) => number | bigint | void;

/** Some of the system calls. */
export type SystemCalls<N extends SystemCallName = SystemCallName> = Record<N, SystemCall>;
