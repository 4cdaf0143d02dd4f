// Which canister an HTTP request is for: `<canister-id>.localhost`, `<canister-id>.raw.localhost`, or
// `?canisterId=` in the URL or in that of the page that asks. Owns no answer.

import { parsePrincipalOrUndefined } from "gyrotron/crypto";

/** A canister as a web site. */
export interface GatewayAddress {
  readonly canisterId: Uint8Array;
  /** The client renounces verification. */
  readonly isRaw: boolean;
}

/** Labels of a host name that are no more than the node's own. */
const LABELS_MAX = 8;

/** The canister that a request is for, if it is for one. `host` and `referer` are header values. */
export function gatewayAddress(
  host: string | undefined,
  url: string,
  referer: string | undefined,
): GatewayAddress | undefined {
  const labels = (host ?? "").toLowerCase().replace(/:\d+$/, "").split(".").slice(0, LABELS_MAX);
  const isRaw = labels[1] === "raw" || labels[0] === "raw";
  // A bare host name is none of a canister's: its first label must be followed by a domain.
  const canisterId = labels.length > 1 ? canisterIdOf(labels[0]) : undefined;
  const found = canisterId ?? queryCanisterId(url) ?? refererCanisterId(referer, host);
  return found && { canisterId: found, isRaw };
}

function queryCanisterId(url: string): Uint8Array | undefined {
  const start = url.indexOf("?");
  if (start < 0) return undefined;
  return canisterIdOf(new URLSearchParams(url.slice(start)).get("canisterId") ?? undefined);
}

/** What a page at `?canisterId=` loads names no canister itself. */
function refererCanisterId(
  referer: string | undefined,
  host: string | undefined,
): Uint8Array | undefined {
  if (referer === undefined || !URL.canParse(referer)) return undefined;
  const { host: from, search } = new URL(referer);
  return from === host ? queryCanisterId(search) : undefined;
}

function canisterIdOf(text: string | undefined): Uint8Array | undefined {
  if (text === undefined || text === "") return undefined;
  const id = parsePrincipalOrUndefined(text);
  return id === undefined || id.length === 0 ? undefined : id;
}
