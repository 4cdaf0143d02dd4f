// Who may read what: every rule of the interface, by its status and text, and what is revealed.

import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import {
  ANONYMOUS_PRINCIPAL,
  canisterIdFromU64,
  formatPrincipal,
  MANAGEMENT_CANISTER,
  selfAuthenticating,
} from "gyrotron/crypto";
import { treePath } from "../certification/index.ts";
import { authorizeReadState, type ReadStateOptions } from "./read-state.ts";

const rootSubnetId = selfAuthenticating(Uint8Array.of(1));
const otherSubnetId = selfAuthenticating(Uint8Array.of(2));
const user = selfAuthenticating(Uint8Array.of(3));
const canisterId = canisterIdFromU64(1n);
const otherCanisterId = canisterIdFromU64(2n);
const requestId = new Uint8Array(32).fill(1);

const base: ReadStateOptions = {
  sender: user,
  targets: undefined,
  endpoint: { kind: "canister", id: canisterId },
  version: 3,
  rootSubnetId,
  subnetIds: [rootSubnetId, otherSubnetId],
  request: () => undefined,
  canister: () => undefined,
};
const subnetEndpoint = { ...base, endpoint: { kind: "subnet" as const, id: rootSubnetId } };

type Labels = (string | Uint8Array)[];

function ask(paths: Labels[], options: Partial<ReadStateOptions> = {}): string {
  const answer = authorizeReadState(
    paths.map((path) => treePath(...path)),
    { ...base, ...options },
  );
  return answer.ok ? "granted" : `${answer.status} ${answer.text}`;
}

const INVALID = "404 Invalid path requested.";
const DENIED = "403 The user tries to access Request ID not signed by the caller.";

test("unknown paths are not found", () => {
  const invalid: Labels[] = [
    [],
    [""],
    ["gyrotron"],
    ["time", "x"],
    [Uint8Array.of(0xff)],
    ["subnet", rootSubnetId, "other"],
    ["subnet", rootSubnetId, "public_key", "x"],
    ["subnet", rootSubnetId, "node", user, "other"],
    ["subnet", rootSubnetId, "node", user, "public_key", "x"],
    ["subnet", rootSubnetId, "metrics"],
    ["subnet", otherSubnetId, "canister_ranges"],
    ["canister_ranges"],
    ["canister_ranges", rootSubnetId],
    ["request_status"],
    ["request_status", requestId, "other"],
    ["request_status", requestId, "status", "x"],
    ["canister"],
    ["canister", canisterId],
    ["canister", canisterId, "certified_data"],
    ["canister", canisterId, "metadata"],
    ["canister", canisterId, "metadata", "a", "b"],
    ["api_boundary_nodes", user, "other"],
  ];
  for (const path of invalid) equal(ask([["time"], path]), INVALID, path.join("/"));
});

test("open paths are granted to anyone", () => {
  const open: Labels[] = [
    ["time"],
    ["subnet"],
    ["subnet", rootSubnetId],
    ["subnet", rootSubnetId, "public_key"],
    ["subnet", otherSubnetId, "type"],
    ["subnet", rootSubnetId, "canister_ranges"],
    ["subnet", rootSubnetId, "node"],
    ["subnet", rootSubnetId, "node", user],
    ["subnet", rootSubnetId, "node", user, "public_key"],
    ["api_boundary_nodes"],
    ["api_boundary_nodes", user, "domain"],
    ["request_status", requestId],
    ["canister", canisterId, "module_hash"],
    ["canister", canisterId, "controllers"],
    ["canister", canisterId, "canister_creation_timestamp"],
    ["canister", canisterId, "last_install_timestamp"],
    ["canister", canisterId, "metadata", "candid:service"],
  ];
  for (const path of open)
    equal(ask([path], { sender: ANONYMOUS_PRINCIPAL }), "granted", path.join("/"));
  equal(ask(open), "granted");
  equal(ask([["subnet", otherSubnetId, "canister_ranges"]], { version: 2 }), "granted");
});

test("the subnet endpoint has its own paths", () => {
  const { endpoint } = subnetEndpoint;
  equal(ask([["subnet", rootSubnetId, "metrics"]], { endpoint }), "granted");
  equal(ask([["canister_ranges", otherSubnetId]], { endpoint }), "granted");
  // Of requests only those that create canisters are about the subnet.
  const own = (canisterId: Uint8Array) => ({
    endpoint,
    request: () => ({ sender: user, canisterId }),
  });
  equal(ask([["request_status", requestId]], own(MANAGEMENT_CANISTER)), "granted");
  equal(
    ask([["request_status", requestId]], own(canisterId)),
    "403 The user tries to access Request ID not signed by the caller.",
  );
  equal(ask([["canister", canisterId, "module_hash"]], { endpoint }), INVALID);
});

test("a whole subnet is revealed without metrics and without foreign ranges", () => {
  const fields = (id: Uint8Array, names: string[]) =>
    names.map((name) => treePath("subnet", id, name));
  const all = ["public_key", "type", "node", "canister_ranges"];
  const paths = (path: Labels, version: 2 | 3) => {
    const answer = authorizeReadState([treePath(...path)], { ...base, version });
    return answer.ok
      ? answer.paths.map((one) => one.map((label) => label.toHex()).join("/")).sort()
      : [];
  };
  const hex = (list: Uint8Array[][]) =>
    list.map((one) => one.map((label) => label.toHex()).join("/")).sort();
  const root = fields(rootSubnetId, all);
  deepEqual(paths(["subnet"], 3), hex([...root, ...fields(otherSubnetId, all.slice(0, 3))]));
  deepEqual(paths(["subnet"], 2), hex([...root, ...fields(otherSubnetId, all)]));
  deepEqual(paths(["subnet", rootSubnetId], 3), hex(root));
});

test("request status: only the sender, under the same canister, within its targets", () => {
  const owner = { sender: user, canisterId, effectiveCanisterId: canisterId };
  const paths: Labels[] = [
    ["request_status", requestId, "status"],
    ["request_status", requestId],
  ];
  const request = () => owner;
  equal(ask(paths, { request }), "granted");
  equal(ask(paths, { request, sender: ANONYMOUS_PRINCIPAL }), DENIED);
  equal(
    ask(paths, { request: () => ({ ...owner, effectiveCanisterId: otherCanisterId }) }),
    DENIED,
  );
  equal(ask(paths, { request: () => ({ sender: user, canisterId: otherCanisterId }) }), "granted");
  equal(ask(paths, { request, targets: [otherCanisterId, canisterId] }), "granted");
  const notTargeted =
    "403 The user tries to access request IDs for canisters not belonging to sender delegation targets.";
  equal(ask(paths, { request, targets: [otherCanisterId] }), notTargeted);
  const granted = authorizeReadState([treePath("request_status", requestId, "reply")], {
    ...base,
    request,
  });
  deepEqual(granted, { ok: true, paths: [treePath("request_status", requestId)] });
});

test("request ids must be well-formed and all the same", () => {
  const malformed =
    "400 Invalid request id in paths. Maybe the request ID is not of 32 bytes in length?!";
  equal(ask([["request_status", new Uint8Array(31)]]), malformed);
  const other = new Uint8Array(32).fill(2);
  const several = `400 More than one non-unique request ID exists in request_status paths: ${requestId.toHex()} and ${other.toHex()}`;
  equal(
    ask([
      ["request_status", requestId],
      ["request_status", other, "status"],
    ]),
    several,
  );
});

test("canister paths must be about the canister in the URL", () => {
  const expected =
    `400 Effective principal id in URL ${formatPrincipal(canisterId)} does not match requested principal id: ` +
    `${formatPrincipal(otherCanisterId)}.`;
  equal(ask([["canister", otherCanisterId, "controllers"]]), expected);
  equal(
    ask([["canister", new Uint8Array(40), "controllers"]]).startsWith("400 Effective principal id"),
    true,
  );
});

test("private metadata is for controllers only", () => {
  const metadata = [
    { name: "open", visibility: "public" as const },
    { name: "secret", visibility: "private" as const },
  ];
  const canister = () => ({ controllers: [user], metadata });
  const secret: Labels[] = [["canister", canisterId, "metadata", "secret"]];
  const denied =
    "403 Custom section secret can only be requested by the controllers of the canister.";
  equal(ask(secret, { canister }), "granted");
  equal(ask(secret, { canister, sender: ANONYMOUS_PRINCIPAL }), denied);
  equal(
    ask([["canister", canisterId, "metadata", "open"]], { canister, sender: ANONYMOUS_PRINCIPAL }),
    "granted",
  );
  equal(
    ask([["canister", canisterId, "metadata", "none"]], { canister, sender: ANONYMOUS_PRINCIPAL }),
    "granted",
  );
  const notText = ask([["canister", canisterId, "metadata", Uint8Array.of(0xff)]], { canister });
  equal(notText, "400 Could not parse the custom section name: it is not UTF-8.");
});
