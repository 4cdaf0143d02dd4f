// URLs of the interface, and what is near them but not part of it.

import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { canisterIdFromU64, formatPrincipal, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { parseApiRoute } from "./route.ts";

const id = canisterIdFromU64(1n);
const text = formatPrincipal(id);

test("every endpoint of the interface has a route", () => {
  deepEqual(parseApiRoute("GET", "/api/v2/status"), { ok: true, kind: "status" });
  for (const version of [2, 3, 4]) {
    const route = parseApiRoute("POST", `/api/v${version}/canister/${text}/call`);
    deepEqual(route, { ok: true, kind: "call", version, endpoint: { kind: "canister", id } });
  }
  for (const kind of ["query", "read_state"]) {
    for (const version of [2, 3]) {
      const route = parseApiRoute("POST", `/api/v${version}/canister/${text}/${kind}`);
      deepEqual(route, { ok: true, kind, version, endpoint: { kind: "canister", id } });
    }
  }
  for (const path of [
    "v4/subnet/ID/call",
    "v3/subnet/ID/query",
    "v2/subnet/ID/read_state",
    "v3/subnet/ID/read_state",
  ]) {
    const route = parseApiRoute("POST", `/api/${path.replace("ID", text)}`);
    equal(
      route?.ok === true && route.kind !== "status" && route.endpoint.kind === "subnet",
      true,
      path,
    );
  }
  const management = parseApiRoute("POST", "/api/v4/canister/aaaaa-aa/call");
  deepEqual(management, {
    ok: true,
    kind: "call",
    version: 4,
    endpoint: { kind: "canister", id: MANAGEMENT_CANISTER },
  });
});

test("other paths have none", () => {
  const paths = [
    "/",
    "/api/v2/status/",
    "/api/v1/canister/ID/call",
    "/api/v4/canister/ID/query",
    "/api/v4/canister/ID/read_state",
    "/api/v2/subnet/ID/query",
    "/api/v3/subnet/ID/call",
    "/api/v3/canister//call",
    "/api/v3/canister/ID/call/",
    "/api/v3/canister/ID/other",
    "/api/v3/canister/ID",
  ];
  for (const path of paths) equal(parseApiRoute("POST", path.replace("ID", text)), undefined, path);
  equal(parseApiRoute("GET", `/api/v3/canister/${text}/call`), undefined);
  equal(parseApiRoute("POST", "/api/v2/status"), undefined);
});

test("a malformed principal is a refusal that names it", () => {
  for (const bad of ["abc", `${text}a`, "AAAAA-AA"]) {
    const expected = { ok: false, status: 400, text: `Malformed principal in URL: ${bad}` };
    deepEqual(parseApiRoute("POST", `/api/v3/canister/${bad}/call`), expected);
  }
});
