// Encoding and decoding of Candid argument lists with @icp-sdk/core. Adds what untrusted input needs:
// a total result and a bound on work. Principals are plain bytes outside of this file.

import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { DecodeError } from "gyrotron/base";
import { checkCandidCost } from "./cost.ts";

export { IDL };

/** Encodes values by types. The values are ours: a mismatch is a bug. */
export function encodeCandid(types: IDL.Type[], values: unknown[]): Uint8Array {
  return IDL.encode(types, values);
}

/**
 * Decodes arguments by the expected types, with Candid's subtyping: extra fields and arguments are
 * ignored, missing optional ones are absent. @throws DecodeError `candid/decode`
 */
export function decodeCandid(types: IDL.Type[], bytes: Uint8Array): unknown[] {
  checkCandidCost(bytes);
  try {
    return IDL.decode(types, bytes);
  } catch (error) {
    // Never the library's text: it numbers types by how many this process has decoded before, and
    // what is said here reaches reject messages.
    const what = "the values are not of the expected types";
    throw new DecodeError({ code: "candid/decode", what, offset: 0 }, { cause: error });
  }
}

/** A principal as the IDL's values hold it. */
export function toIdlPrincipal(bytes: Uint8Array): Principal {
  return Principal.fromUint8Array(bytes);
}

/** The bytes of a principal that the IDL decoded. */
export function fromIdlPrincipal(principal: Principal): Uint8Array {
  return principal.toUint8Array();
}

export type { Principal as IdlPrincipal };
