// The management canister's methods that the command line uses, through the public interface.

import type { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { present } from "gyrotron/base";
import { createHash } from "node:crypto";
import { parseInterface } from "./candid/interface.ts";
import { callCanister, queryCanister } from "./node-client.ts";

/** How code replaces code. */
export type InstallMode = "install" | "reinstall" | "upgrade";

/** Answer of `canister_status`, as far as it is shown. */
export interface CanisterStatus {
  readonly status: Readonly<Record<string, null>>;
  readonly module_hash: [] | [Uint8Array];
  readonly memory_size: bigint;
  readonly cycles: bigint;
  readonly idle_cycles_burned_per_day: bigint;
  readonly settings: {
    readonly controllers: readonly Principal[];
    readonly freezing_threshold: bigint;
    readonly memory_allocation: bigint;
    readonly wasm_memory_limit: bigint;
  };
}

/** One line of a canister's log. */
export interface LogRecord {
  readonly idx: bigint;
  readonly timestamp_nanos: bigint;
  readonly content: Uint8Array;
}

const MANAGEMENT = Principal.managementCanister();
/** A message of 2 MiB must hold the module and everything round it. */
const SINGLE_MESSAGE_MODULE_BYTES_MAX = 1_900_000;
const CHUNK_BYTES = 1_048_576;

const INTERFACE = parseInterface(`
  type mode = variant {
    install; reinstall;
    upgrade : opt record { wasm_memory_persistence : opt variant { keep; replace } };
  };
  type target = record { canister_id : principal };
  service : {
    provisional_create_canister_with_cycles : (record { amount : opt nat }) -> (target);
    install_code : (record { mode : mode; canister_id : principal; wasm_module : blob; arg : blob }) -> ();
    install_chunked_code : (record {
      mode : mode; target_canister : principal; chunk_hashes_list : vec record { hash : blob };
      wasm_module_hash : blob; arg : blob;
    }) -> ();
    upload_chunk : (record { canister_id : principal; chunk : blob }) -> (record { hash : blob });
    clear_chunk_store : (target) -> ();
    start_canister : (target) -> ();
    stop_canister : (target) -> ();
    delete_canister : (target) -> ();
    canister_status : (target) -> (record {
      status : variant { running; stopping; stopped };
      module_hash : opt blob; memory_size : nat; cycles : nat; idle_cycles_burned_per_day : nat;
      settings : record {
        controllers : vec principal; freezing_threshold : nat; memory_allocation : nat;
        wasm_memory_limit : nat;
      };
    });
    fetch_canister_logs : (target) -> (record {
      canister_log_records : vec record { idx : nat64; timestamp_nanos : nat64; content : blob };
    }) query;
  }`);

/** Creates a canister with the network's usual balance and the agent's identity as its controller. */
export async function createCanister(agent: HttpAgent): Promise<Principal> {
  const result = await manage(
    agent,
    "provisional_create_canister_with_cycles",
    { amount: [] },
    MANAGEMENT,
  );
  return (result as { canister_id: Principal }).canister_id;
}

/** Installs a module; a large one travels in pieces through the canister's chunk store. */
export async function installCode(
  agent: HttpAgent,
  canister: Principal,
  code: { wasm: Uint8Array; argument: Uint8Array; mode: InstallMode; keepsHeap: boolean },
): Promise<void> {
  const mode = encodeMode(code.mode, code.keepsHeap);
  if (code.wasm.length <= SINGLE_MESSAGE_MODULE_BYTES_MAX) {
    const args = { mode, canister_id: canister, wasm_module: code.wasm, arg: code.argument };
    await manage(agent, "install_code", args, canister);
    return;
  }
  const target = { canister_id: canister };
  await manage(agent, "clear_chunk_store", target, canister);
  const hashes: { hash: Uint8Array }[] = [];
  for (let start = 0; start < code.wasm.length; start += CHUNK_BYTES) {
    const chunk = code.wasm.subarray(start, start + CHUNK_BYTES);
    const result = await manage(agent, "upload_chunk", { ...target, chunk }, canister);
    hashes.push(result as { hash: Uint8Array });
  }
  const args = {
    mode,
    target_canister: canister,
    chunk_hashes_list: hashes,
    wasm_module_hash: createHash("sha256").update(code.wasm).digest(),
    arg: code.argument,
  };
  await manage(agent, "install_chunked_code", args, canister);
  await manage(agent, "clear_chunk_store", target, canister);
}

/** Starts, stops or deletes a canister. */
export async function changeLifecycle(
  agent: HttpAgent,
  canister: Principal,
  action: "start" | "stop" | "delete",
): Promise<void> {
  await manage(agent, `${action}_canister`, { canister_id: canister }, canister);
}

/** What the management canister says of a canister to its controllers. */
export async function readCanisterStatus(
  agent: HttpAgent,
  canister: Principal,
): Promise<CanisterStatus> {
  return (await manage(
    agent,
    "canister_status",
    { canister_id: canister },
    canister,
  )) as CanisterStatus;
}

/** A canister's log, oldest first. */
export async function fetchLogs(agent: HttpAgent, canister: Principal): Promise<LogRecord[]> {
  const method = "fetch_canister_logs";
  const { argTypes, retTypes } = methodType(method);
  const argument = IDL.encode(argTypes, [{ canister_id: canister }]);
  const reply = await queryCanister(agent, MANAGEMENT, {
    method,
    argument,
    effectiveCanister: canister,
  });
  const [result] = IDL.decode(retTypes, reply);
  return (result as unknown as { canister_log_records: LogRecord[] }).canister_log_records;
}

async function manage(
  agent: HttpAgent,
  method: string,
  args: object,
  effectiveCanister: Principal,
): Promise<unknown> {
  const { argTypes, retTypes } = methodType(method);
  const argument = IDL.encode(argTypes, [args]);
  const reply = await callCanister(agent, MANAGEMENT, { method, argument, effectiveCanister });
  return IDL.decode(retTypes, reply)[0];
}

function methodType(method: string): { argTypes: IDL.Type[]; retTypes: IDL.Type[] } {
  return present(INTERFACE.methods.get(method), "a method of the interface above");
}

function encodeMode(mode: InstallMode, keepsHeap: boolean): object {
  if (mode !== "upgrade") return { [mode]: null };
  const persistence = keepsHeap ? [{ wasm_memory_persistence: [{ keep: null }] }] : [];
  return { upgrade: persistence };
}
