// Who may read which paths of the state tree (IC interface, "request: read state"): a pure decision
// over the paths, the sender and what the state knows. The tree itself is certification's.

import { compareBytes, equalBytes, utf8Bytes, utf8Text } from "gyrotron/base";
import { formatPrincipal, isManagementCanister } from "gyrotron/crypto";
import { treePath } from "../certification/index.ts";
import type { Refusal } from "./refusal.ts";
import { refuse } from "./refusal.ts";

/** What the state knows of a request that was submitted. */
export interface RequestOwner {
  sender: Uint8Array;
  /** Canister the request was addressed to. */
  canisterId: Uint8Array;
  /** Effective canister id it was submitted under; undefined: not recorded, then not checked. */
  effectiveCanisterId?: Uint8Array | undefined;
}

/** What the state knows of a canister, as far as reading it matters. */
export interface ReadableCanister {
  controllers: readonly Uint8Array[];
  metadata: readonly { name: string; visibility: "public" | "private" }[];
}

/** Who reads, where, and what the state knows. */
export interface ReadStateOptions {
  sender: Uint8Array;
  /** Canisters that the sender's delegations allow; undefined: all. */
  targets: readonly Uint8Array[] | undefined;
  endpoint: { kind: "canister" | "subnet"; id: Uint8Array };
  /** Version in the URL; 2 still shows the canister ranges of other subnets. */
  version: 2 | 3;
  rootSubnetId: Uint8Array;
  /** Ids of all subnets in the tree. */
  subnetIds: readonly Uint8Array[];
  request(requestId: Uint8Array): RequestOwner | undefined;
  canister(canisterId: Uint8Array): ReadableCanister | undefined;
}

/** The paths to reveal. */
export interface ReadStateGrant {
  readonly ok: true;
  readonly paths: Uint8Array[][];
}

/** The paths to reveal, or why not. `/time` is always revealed besides. */
export function authorizeReadState(
  paths: readonly (readonly Uint8Array[])[],
  options: ReadStateOptions,
): ReadStateGrant | Refusal {
  const granted: Uint8Array[][] = [];
  let requestId: Uint8Array | undefined;
  for (const path of paths) {
    const answer = authorizePath(path, options);
    if (!answer.ok) return answer;
    granted.push(...answer.paths);
    if (nameOf(path[0]) !== "request_status") continue;
    const id = path[1]!;
    if (requestId !== undefined && !equalBytes(requestId, id))
      return severalRequests(requestId, id);
    requestId = id;
  }
  const refusal = requestId === undefined ? undefined : requestRefusal(requestId, options);
  return refusal ?? { ok: true, paths: granted };
}

const INVALID_PATH = refuse(404, "Invalid path requested.");
const REQUEST_ID_BYTES = 32;
const REQUEST_FIELDS = ["status", "reply", "reject_code", "reject_message", "error_code"];
const CANISTER_FIELDS = [
  "module_hash",
  "controllers",
  "canister_creation_timestamp",
  "last_install_timestamp",
];
const BOUNDARY_NODE_FIELDS = ["domain", "ipv4_address", "ipv6_address"];

function authorizePath(
  path: readonly Uint8Array[],
  options: ReadStateOptions,
): ReadStateGrant | Refusal {
  switch (nameOf(path[0])) {
    case "time":
      return path.length === 1 ? grant([...path]) : INVALID_PATH;
    case "subnet":
      return authorizeSubnet(path, options);
    case "canister_ranges":
      return path.length === 2 && options.endpoint.kind === "subnet"
        ? grant([...path])
        : INVALID_PATH;
    case "api_boundary_nodes":
      return path.length <= 2 || isField(path, 2, BOUNDARY_NODE_FIELDS)
        ? grant([...path])
        : INVALID_PATH;
    case "request_status":
      return authorizeRequestStatus(path);
    case "canister":
      return authorizeCanister(path, options);
    default:
      return INVALID_PATH;
  }
}

/** A whole subnet is revealed field by field, since metrics and foreign ranges must stay hidden. */
function authorizeSubnet(
  path: readonly Uint8Array[],
  options: ReadStateOptions,
): ReadStateGrant | Refusal {
  if (path.length === 1) {
    // The path itself is not granted: it would reveal everything.
    const ids = options.subnetIds.toSorted(compareBytes);
    return grant(...ids.flatMap((id) => subnetFields(id, options)));
  }
  const id = path[1]!;
  if (path.length === 2) return grant(...subnetFields(id, options));
  const isNodePath =
    nameOf(path[2]) === "node" && (path.length <= 4 || isField(path, 4, ["public_key"]));
  const isAllowed =
    isNodePath ||
    isField(path, 2, ["public_key", "type"]) ||
    (isField(path, 2, ["canister_ranges"]) && showsRanges(id, options)) ||
    (isField(path, 2, ["metrics"]) && options.endpoint.kind === "subnet");
  return isAllowed ? grant([...path]) : INVALID_PATH;
}

function subnetFields(id: Uint8Array, options: ReadStateOptions): Uint8Array[][] {
  const names = [
    "public_key",
    "type",
    "node",
    ...(showsRanges(id, options) ? ["canister_ranges"] : []),
  ];
  return names.map((name) => treePath("subnet", id, name));
}

function showsRanges(id: Uint8Array, { version, rootSubnetId }: ReadStateOptions): boolean {
  return version === 2 || equalBytes(id, rootSubnetId);
}

/** Grants the whole status: agents want to see that a field they did not ask for is absent. */
function authorizeRequestStatus(path: readonly Uint8Array[]): ReadStateGrant | Refusal {
  const isShaped = path.length === 2 || isField(path, 2, REQUEST_FIELDS);
  if (!isShaped) return INVALID_PATH;
  const id = path[1]!;
  if (id.length !== REQUEST_ID_BYTES) {
    return refuse(
      400,
      "Invalid request id in paths. Maybe the request ID is not of 32 bytes in length?!",
    );
  }
  return grant(treePath("request_status", id));
}

function authorizeCanister(
  path: readonly Uint8Array[],
  options: ReadStateOptions,
): ReadStateGrant | Refusal {
  const isMetadata = path.length === 4 && nameOf(path[2]) === "metadata";
  const isShaped = isMetadata || isField(path, 2, CANISTER_FIELDS);
  if (!isShaped || options.endpoint.kind !== "canister") return INVALID_PATH;
  const id = path[1]!;
  if (!equalBytes(id, options.endpoint.id)) {
    const requested = id.length <= 29 ? formatPrincipal(id) : id.toHex();
    const inUrl = formatPrincipal(options.endpoint.id);
    return refuse(
      400,
      `Effective principal id in URL ${inUrl} does not match requested principal id: ${requested}.`,
    );
  }
  return (isMetadata ? metadataRefusal(id, path[3]!, options) : undefined) ?? grant([...path]);
}

/** A section that does not exist may be asked for: the answer proves its absence. */
function metadataRefusal(
  id: Uint8Array,
  nameBytes: Uint8Array,
  options: ReadStateOptions,
): Refusal | undefined {
  const name = utf8Text(nameBytes);
  if (name === undefined)
    return refuse(400, "Could not parse the custom section name: it is not UTF-8.");
  const canister = options.canister(id);
  const section = canister?.metadata.find((candidate) => candidate.name === name);
  const isController =
    canister?.controllers.some((controller) => equalBytes(controller, options.sender)) === true;
  if (section?.visibility !== "private" || isController) return undefined;
  return refuse(
    403,
    `Custom section ${name} can only be requested by the controllers of the canister.`,
  );
}

/** An id that the state does not know may be asked for: the answer proves its absence. */
function requestRefusal(requestId: Uint8Array, options: ReadStateOptions): Refusal | undefined {
  const { endpoint, sender, targets } = options;
  const owner = options.request(requestId);
  if (owner === undefined) return undefined;
  const { canisterId, effectiveCanisterId } = owner;
  const isSameEndpoint =
    endpoint.kind === "subnet"
      ? isManagementCanister(canisterId) // creations concern the subnet
      : effectiveCanisterId === undefined || equalBytes(effectiveCanisterId, endpoint.id);
  if (!equalBytes(owner.sender, sender) || !isSameEndpoint) {
    return refuse(403, "The user tries to access Request ID not signed by the caller.");
  }
  if (targets === undefined || targets.some((target) => equalBytes(target, canisterId)))
    return undefined;
  const text =
    "The user tries to access request IDs for canisters not belonging to sender delegation targets.";
  return refuse(403, text);
}

function severalRequests(first: Uint8Array, second: Uint8Array): Refusal {
  const ids = `${first.toHex()} and ${second.toHex()}`;
  return refuse(400, `More than one non-unique request ID exists in request_status paths: ${ids}`);
}

function grant(...paths: Uint8Array[][]): ReadStateGrant {
  return { ok: true, paths };
}

/** Whether the path ends at `index` with one of these names. */
function isField(path: readonly Uint8Array[], index: number, names: readonly string[]): boolean {
  const last = path[index];
  if (path.length !== index + 1 || last === undefined) return false;
  return names.some((name) => equalBytes(utf8Bytes(name), last));
}

function nameOf(label: Uint8Array | undefined): string | undefined {
  return label === undefined ? undefined : utf8Text(label);
}
