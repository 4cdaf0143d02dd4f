// Canisters with heaps of a chosen size (pages.wat), for measurements of persistence: their module and
// the calls that make and fill them.

import { readFileSync } from "node:fs";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import wabtInit from "wabt";

/** A method and its argument, as a call carries them. */
export interface PagesCall {
  readonly canisterId: Uint8Array;
  readonly methodName: string;
  readonly argument: Uint8Array;
}

/** Where fillings begin: arguments lie below. */
export const FIRST_BYTE = 65_536;
/** Most bytes that one message fills, so that blocks stay short. */
const FILL_BYTES_MAX = 64 * 1024 * 1024;
const MANAGEMENT = new Uint8Array(0);
const AMOUNT = 1_000_000_000_000_000_000n;

const installArgument = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});

/** The module of all of them. */
export async function pagesModule(): Promise<Uint8Array> {
  const wabt = await wabtInit();
  const text = readFileSync(new URL("pages.wat", import.meta.url), "utf8");
  return wabt.parseWat("pages.wat", text).toBinary({}).buffer;
}

/** Makes a canister with cycles for a long time. */
export function createCall(): PagesCall {
  const type = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
  return {
    canisterId: MANAGEMENT,
    methodName: "provisional_create_canister_with_cycles",
    argument: IDL.encode([type], [{ amount: [AMOUNT] }]),
  };
}

/** The id of a canister, from the reply to its creation. */
export function createdId(reply: Uint8Array): Uint8Array {
  const [record] = IDL.decode([IDL.Record({ canister_id: IDL.Principal })], reply);
  return (record as unknown as { canister_id: Principal }).canister_id.toUint8Array();
}

/** Installs the module. */
export function installCall(canisterId: Uint8Array, module: Uint8Array): PagesCall {
  const value = {
    mode: { install: null },
    canister_id: Principal.fromUint8Array(canisterId),
    wasm_module: module,
    arg: new Uint8Array(0),
  };
  const argument = IDL.encode([installArgument], [value]);
  return { canisterId: MANAGEMENT, methodName: "install_code", argument };
}

/** Fills `bytes` bytes of the heap, a multiple of 64 KiB, by several messages if they are many. */
export function fillCalls(canisterId: Uint8Array, bytes: number): PagesCall[] {
  const calls: PagesCall[] = [];
  for (let done = 0; done < bytes; done += FILL_BYTES_MAX) {
    const argument = words(FIRST_BYTE + done, Math.min(FILL_BYTES_MAX, bytes - done));
    calls.push({ canisterId, methodName: "fill", argument });
  }
  return calls;
}

/** Changes the kibibyte at `address`. */
export function touchCall(canisterId: Uint8Array, address: number): PagesCall {
  return { canisterId, methodName: "touch", argument: words(address) };
}

/** A query for the eight bytes at `address`. */
export function readCall(canisterId: Uint8Array, address: number): PagesCall {
  return { canisterId, methodName: "read", argument: words(address) };
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}
