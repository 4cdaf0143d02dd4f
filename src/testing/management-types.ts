// Candid types of the management methods that a test network calls for its user: as much of them as
// it fills in. Owns no behaviour.

import { IDL } from "gyrotron/candid";

const { Bool, Nat, Null, Opt, Principal, Record, Variant, Vec } = IDL;
const blob = Vec(IDL.Nat8);
const mode = Variant({
  install: Null,
  reinstall: Null,
  upgrade: Opt(
    Record({
      skip_pre_upgrade: Opt(Bool),
      wasm_memory_persistence: Opt(Variant({ keep: Null, replace: Null })),
    }),
  ),
});

export const CREATION: IDL.Type = Record({
  amount: Opt(Nat),
  settings: Opt(Record({ controllers: Opt(Vec(Principal)) })),
  specified_id: Opt(Principal),
});
export const CREATED: IDL.Type = Record({ canister_id: Principal });

/** The ways to install code. */
export const INSTALL: Readonly<Record<"direct" | "clear" | "upload" | "chunked", IDL.Type>> = {
  direct: Record({ mode, canister_id: Principal, wasm_module: blob, arg: blob }),
  clear: Record({ canister_id: Principal }),
  upload: Record({ canister_id: Principal, chunk: blob }),
  chunked: Record({
    mode,
    target_canister: Principal,
    chunk_hashes_list: Vec(Record({ hash: blob })),
    wasm_module_hash: blob,
    arg: blob,
  }),
};
