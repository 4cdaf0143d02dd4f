// URLs of the ICP's HTTP interface. Owns their parsing only; the server maps routes to work.

import { parsePrincipalOrUndefined } from "gyrotron/crypto";
import type { Refusal } from "./refusal.ts";
import { refuse } from "./refusal.ts";

/** What a URL asks for; `id` is the effective canister id or the subnet id. */
export type ApiRoute =
  | { readonly ok: true; kind: "status" }
  | { readonly ok: true; kind: "call"; version: 2 | 3 | 4; endpoint: ApiEndpoint }
  | { readonly ok: true; kind: "query"; version: 2 | 3; endpoint: ApiEndpoint }
  | { readonly ok: true; kind: "read_state"; version: 2 | 3; endpoint: ApiEndpoint };

/** The canister or subnet that a URL addresses. */
export interface ApiEndpoint {
  kind: "canister" | "subnet";
  id: Uint8Array;
}

/** The pairs that exist: version, kind of endpoint, action. */
const ACTIONS = new Set([
  "v2/canister/call",
  "v3/canister/call",
  "v4/canister/call",
  "v4/subnet/call",
  "v2/canister/query",
  "v3/canister/query",
  "v3/subnet/query",
  "v2/canister/read_state",
  "v3/canister/read_state",
  "v2/subnet/read_state",
  "v3/subnet/read_state",
]);

/** Route of a request below `/api/`, or undefined if the path is not one of the interface (404). */
export function parseApiRoute(method: string, pathname: string): ApiRoute | Refusal | undefined {
  if (method === "GET" && pathname === "/api/v2/status") return { ok: true, kind: "status" };
  const match = /^\/api\/(v[234])\/(canister|subnet)\/([^/]{1,80})\/(call|query|read_state)$/.exec(
    pathname,
  );
  if (match === null || method !== "POST") return undefined;
  const [, version, endpointKind, idText = "", action] = match;
  if (!ACTIONS.has(`${version}/${endpointKind}/${action}`)) return undefined;
  const id = parsePrincipalOrUndefined(idText);
  if (id === undefined) return refuse(400, `Malformed principal in URL: ${idText}`);
  const endpoint = { kind: endpointKind as ApiEndpoint["kind"], id };
  const route = { ok: true, kind: action, version: Number(version!.slice(1)), endpoint };
  return route as ApiRoute; // ACTIONS holds exactly the combinations of the type
}
