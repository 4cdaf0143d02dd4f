// The types of all functions of module `ic0`, for both pointer widths. `I` is the address type of
// the canister's memory. Spec: docs/spec/06-canister-runtime.md section 1.4.

/** Address type of the canister's memory: the type of pointers and sizes in the system API. */
export type AddressType = "i32" | "i64";

type Shorthand = "I" | "i32" | "i64";
type Signature = readonly [params: readonly Shorthand[], results: readonly Shorthand[]];

const I = "I";
const size: Signature = [[], [I]];
const copy: Signature = [[I, I, I], []];
const source: Signature = [[I, I], []];
const pointer: Signature = [[I], []];
const none: Signature = [[], []];
const flag: Signature = [[], ["i32"]];
const word: Signature = [[], ["i64"]];
const keyCost: Signature = [[I, I, "i32", I], ["i32"]];

const BOTH_WIDTHS: Readonly<Record<string, Signature>> = {
  msg_arg_data_size: size,
  msg_arg_data_copy: copy,
  msg_caller_size: size,
  msg_caller_copy: copy,
  msg_caller_info_data_size: size,
  msg_caller_info_data_copy: copy,
  msg_caller_info_signer_size: size,
  msg_caller_info_signer_copy: copy,
  msg_reject_code: flag,
  msg_reject_msg_size: size,
  msg_reject_msg_copy: copy,
  msg_deadline: word,
  msg_reply_data_append: source,
  msg_reply: none,
  msg_reject: source,
  msg_cycles_available128: pointer,
  msg_cycles_refunded128: pointer,
  msg_cycles_accept128: [["i64", "i64", I], []],
  cycles_burn128: [["i64", "i64", I], []],
  canister_self_size: size,
  canister_self_copy: copy,
  subnet_self_size: size,
  subnet_self_copy: copy,
  canister_cycle_balance128: pointer,
  canister_liquid_cycle_balance128: pointer,
  canister_status: flag,
  canister_version: word,
  msg_method_name_size: size,
  msg_method_name_copy: copy,
  accept_message: none,
  call_new: [[I, I, I, I, I, I, I, I], []],
  call_on_cleanup: [[I, I], []],
  call_data_append: source,
  call_with_best_effort_response: [["i32"], []],
  call_cycles_add128: [["i64", "i64"], []],
  call_perform: flag,
  stable64_size: word,
  stable64_grow: [["i64"], ["i64"]],
  stable64_write: [["i64", "i64", "i64"], []],
  stable64_read: [["i64", "i64", "i64"], []],
  root_key_size: size,
  root_key_copy: copy,
  certified_data_set: source,
  data_certificate_present: flag,
  data_certificate_size: size,
  data_certificate_copy: copy,
  time: word,
  global_timer_set: [["i64"], ["i64"]],
  performance_counter: [["i32"], ["i64"]],
  is_controller: [[I, I], ["i32"]],
  in_replicated_execution: flag,
  cost_call: [["i64", "i64", I], []],
  cost_create_canister: pointer,
  cost_http_request: [["i64", "i64", I], []],
  cost_sign_with_ecdsa: keyCost,
  cost_sign_with_schnorr: keyCost,
  cost_vetkd_derive_key: keyCost,
  env_var_count: size,
  env_var_name_size: [[I], [I]],
  env_var_name_copy: [[I, I, I, I], []],
  env_var_name_exists: [[I, I], ["i32"]],
  env_var_value_size: [[I, I], [I]],
  env_var_value_copy: [[I, I, I, I, I], []],
  mint_cycles128: [["i64", "i64", I], []],
  debug_print: source,
  trap: source,
};

const WASM32_ONLY: Readonly<Record<string, Signature>> = {
  msg_cycles_available: word,
  msg_cycles_accept: [["i64"], ["i64"]],
  msg_cycles_refunded: word,
  canister_cycle_balance: word,
  call_cycles_add: [["i64"], []],
  stable_size: flag,
  stable_grow: [["i32"], ["i32"]],
  stable_write: [["i32", "i32", "i32"], []],
  stable_read: [["i32", "i32", "i32"], []],
};

/** A function type in terms of core value types. */
export interface Ic0Signature {
  readonly params: readonly AddressType[];
  readonly results: readonly AddressType[];
}

/** The type of `ic0.<name>` for one pointer width, or undefined if there is no such function. */
export function ic0Signature(name: string, address: AddressType): Ic0Signature | undefined {
  const tables = address === "i32" ? [BOTH_WIDTHS, WASM32_ONLY] : [BOTH_WIDTHS];
  const found = tables.find((table) => Object.hasOwn(table, name))?.[name];
  if (found === undefined) return undefined;
  const expand = (types: readonly Shorthand[]): AddressType[] =>
    types.map((type) => (type === "I" ? address : type));
  return { params: expand(found[0]), results: expand(found[1]) };
}

/** Names of all functions of `ic0` for one pointer width, sorted as written in the specification. */
export function ic0Names(address: AddressType): string[] {
  return [...Object.keys(BOTH_WIDTHS), ...(address === "i32" ? Object.keys(WASM32_ONLY) : [])];
}
