// Principals as tests have them: as text, as bytes, or as the agent library's objects.

import { type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { parsePrincipal } from "gyrotron/crypto";

/** A principal in any of its forms. */
export type PrincipalLike = string | Uint8Array | { toUint8Array(): Uint8Array };

/** Its bytes. @throws CryptoError `crypto/principal` for texts that are none */
export function principalBytes(principal: PrincipalLike): Uint8Array {
  if (typeof principal === "string") return parsePrincipal(principal);
  return principal instanceof Uint8Array ? principal : principal.toUint8Array();
}

/** As Candid values hold it. */
export function principalOf(principal: PrincipalLike): IdlPrincipal {
  return toIdlPrincipal(principalBytes(principal));
}
