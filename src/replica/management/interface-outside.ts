// Candid types of the management canister's methods that nodes do outside of the state machine, or
// would: outcalls, threshold keys, Bitcoin (ic.did 0.66). Owns types only.

import { IDL } from "gyrotron/candid";

const { Bool, Nat, Nat64, Null, Principal, Text } = IDL;
const blob: IDL.Type = IDL.Vec(IDL.Nat8);
const path = IDL.Vec(blob);

const header = IDL.Record({ name: Text, value: Text });
/** What an outcall answers, and a transform takes and gives. */
export const HTTP_RESPONSE: IDL.Type = IDL.Record({
  status: Nat,
  headers: IDL.Vec(header),
  body: blob,
});
/** Argument of a transform. */
export const TRANSFORM_ARGUMENT: IDL.Type = IDL.Record({ response: HTTP_RESPONSE, context: blob });

const ecdsaKey = IDL.Record({ curve: IDL.Variant({ secp256k1: Null }), name: Text });
const schnorrKey = IDL.Record({
  algorithm: IDL.Variant({ bip340secp256k1: Null, ed25519: Null }),
  name: Text,
});
const vetkdKey = IDL.Record({ curve: IDL.Variant({ bls12_381_g2: Null }), name: Text });
const anything: IDL.Type = IDL.Reserved;

export const OUTSIDE_ARGUMENTS = {
  http_request: IDL.Record({
    url: Text,
    max_response_bytes: IDL.Opt(Nat64),
    method: IDL.Variant({
      get: Null,
      head: Null,
      post: Null,
      put: Null,
      delete: Null,
      patch: Null,
    }),
    headers: IDL.Vec(header),
    body: IDL.Opt(blob),
    transform: IDL.Opt(
      IDL.Record({
        function: IDL.Func([TRANSFORM_ARGUMENT], [HTTP_RESPONSE], ["query"]),
        context: blob,
      }),
    ),
    is_replicated: IDL.Opt(Bool),
  }) as IDL.Type,
  ecdsa_public_key: IDL.Record({
    canister_id: IDL.Opt(Principal),
    derivation_path: path,
    key_id: ecdsaKey,
  }) as IDL.Type,
  sign_with_ecdsa: IDL.Record({
    message_hash: blob,
    derivation_path: path,
    key_id: ecdsaKey,
  }) as IDL.Type,
  schnorr_public_key: IDL.Record({
    canister_id: IDL.Opt(Principal),
    derivation_path: path,
    key_id: schnorrKey,
  }) as IDL.Type,
  sign_with_schnorr: IDL.Record({
    message: blob,
    derivation_path: path,
    key_id: schnorrKey,
    aux: IDL.Opt(IDL.Variant({ bip341: IDL.Record({ merkle_root_hash: blob }) })),
  }) as IDL.Type,
  vetkd_public_key: IDL.Record({
    canister_id: IDL.Opt(Principal),
    context: blob,
    key_id: vetkdKey,
  }) as IDL.Type,
  vetkd_derive_key: IDL.Record({
    input: blob,
    context: blob,
    transport_public_key: blob,
    key_id: vetkdKey,
  }) as IDL.Type,
  bitcoin_get_balance: anything as IDL.Type,
  bitcoin_get_utxos: anything as IDL.Type,
  bitcoin_send_transaction: anything as IDL.Type,
  bitcoin_get_current_fee_percentiles: anything as IDL.Type,
  bitcoin_get_block_headers: anything as IDL.Type,
};

export const OUTSIDE_RESULTS = {
  publicKey: IDL.Record({ public_key: blob, chain_code: blob }) as IDL.Type,
  vetkdKey: IDL.Record({ public_key: blob }) as IDL.Type,
};
