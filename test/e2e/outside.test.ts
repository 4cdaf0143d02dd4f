// Goal: a Motoko canister on a real node gets what the world answers, and signatures that anyone can
// check. Method: a local web server with good and bad manners; Node's own crypto as the peer.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "gyrotron/crypto";
import { compileFile } from "gyrotron/node";
import { type RunningNode, startNode, temporaryFolder } from "./running-node.ts";

const MANAGEMENT = Principal.managementCanister();
const RESPONSE = IDL.Record({
  status: IDL.Nat,
  headers: IDL.Vec(IDL.Record({ name: IDL.Text, value: IDL.Text })),
  body: IDL.Vec(IDL.Nat8),
});
const SIGNED = IDL.Record({ public_key: IDL.Vec(IDL.Nat8), signature: IDL.Vec(IDL.Nat8) });

interface Response {
  status: bigint;
  headers: { name: string; value: string }[];
  body: Uint8Array;
}

let node: RunningNode;
let server: Server;
let origin: string;
let agent: HttpAgent;
let canister: Principal;
const seen: { method: string; headers: Record<string, unknown>; body: string }[] = [];

before(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      seen.push({ method: request.method ?? "", headers: request.headers, body });
      if (request.url === "/moved") response.writeHead(302, { location: "/hello" }).end();
      else if (request.url === "/large") response.end("x".repeat(5_000));
      else if (request.url === "/cut") response.destroy();
      else response.writeHead(200, { "x-answer": "Yes" }).end("hello");
    });
  });
  server.listen(0, "127.0.0.1");
  const source = resolve(import.meta.dirname, "outside/main.mo");
  const [started, module] = await Promise.all([startNode(temporaryFolder()), compileFile(source)]);
  node = started;
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true });
  canister = await install(module.wasm);
});

after(async () => {
  await node.stop();
  server.close();
});

async function manage(method: string, type: IDL.Type, value: unknown): Promise<Uint8Array> {
  const call = value as { canister_id?: Principal };
  const { reply } = await agent.update(MANAGEMENT, {
    methodName: method,
    arg: IDL.encode([type], [value]),
    effectiveCanisterId: call.canister_id ?? MANAGEMENT,
  });
  return reply;
}

async function install(wasm: Uint8Array): Promise<Principal> {
  const created = await manage(
    "provisional_create_canister_with_cycles",
    IDL.Record({ amount: IDL.Opt(IDL.Nat) }),
    { amount: [] },
  );
  const [{ canister_id }] = IDL.decode(
    [IDL.Record({ canister_id: IDL.Principal })],
    created,
  ) as unknown as [{ canister_id: Principal }];
  const INSTALL = IDL.Record({
    mode: IDL.Variant({ install: IDL.Null }),
    canister_id: IDL.Principal,
    wasm_module: IDL.Vec(IDL.Nat8),
    arg: IDL.Vec(IDL.Nat8),
  });
  const arg = IDL.encode([], []);
  await manage("install_code", INSTALL, {
    mode: { install: null },
    canister_id,
    wasm_module: wasm,
    arg,
  });
  return canister_id;
}

async function call<T>(
  method: string,
  types: IDL.Type[],
  values: unknown[],
  result: IDL.Type,
): Promise<T> {
  const { reply } = await agent.update(canister, {
    methodName: method,
    arg: IDL.encode(types, values),
  });
  return IDL.decode([result], reply)[0] as T;
}

function fetchPath(path: string, maxBytes = 1000n, transformed = false): Promise<Response> {
  const types = [IDL.Text, IDL.Nat64, IDL.Bool];
  return call("fetch", types, [`${origin}${path}`, maxBytes, transformed], RESPONSE);
}

test("a response arrives with status, headers and body; the request carries the canister's headers", async () => {
  const { status, headers, body } = await fetchPath("/hello");
  assert.equal(status, 200n);
  assert.equal(Buffer.from(body).toString(), "hello");
  assert.ok(headers.some(({ name, value }) => name === "x-answer" && value === "Yes"));
  const request = seen.at(-1)!;
  assert.equal(request.headers["x-asked"], "yes");
  assert.equal(request.headers["user-agent"], "ic/1.0");
});

test("the canister's transform decides what the nodes agree on", async () => {
  const { headers, body } = await fetchPath("/hello", 1000n, true);
  assert.deepEqual(headers, []);
  assert.deepEqual([...body], [1, 2, 3]);
});

test("a redirect is an answer, not followed", async () => {
  const { status, headers } = await fetchPath("/moved");
  assert.equal(status, 302n);
  assert.ok(headers.some(({ name }) => name === "location"));
});

test("a body goes out with a request to one node", async () => {
  const { status } = await call<Response>(
    "post",
    [IDL.Text, IDL.Vec(IDL.Nat8)],
    [`${origin}/post`, new TextEncoder().encode("payload")],
    RESPONSE,
  );
  assert.equal(status, 200n);
  assert.equal(seen.at(-1)!.method, "POST");
  assert.equal(seen.at(-1)!.body, "payload");
});

test("too long responses and lost connections are rejects", async () => {
  await assert.rejects(fetchPath("/large"), /Http body exceeds size limit of 1000 bytes/);
  await assert.rejects(fetchPath("/hello", 10n), /Header size exceeds specified response size/);
  await assert.rejects(fetchPath("/cut"), /the connection was lost/);
});

test("an ECDSA signature verifies under the canister's key", async () => {
  const hash = sha256(new TextEncoder().encode("document"));
  const { public_key, signature } = await call<{ public_key: Uint8Array; signature: Uint8Array }>(
    "signHash",
    [IDL.Vec(IDL.Nat8)],
    [hash],
    SIGNED,
  );
  assert.equal(signature.length, 64);
  assert.ok(secp256k1.verify(signature, hash, public_key, { prehash: false }));
});

test("an Ed25519 signature verifies with OpenSSL", async () => {
  const message = new TextEncoder().encode("document");
  const { public_key, signature } = await call<{ public_key: Uint8Array; signature: Uint8Array }>(
    "signMessage",
    [IDL.Vec(IDL.Nat8)],
    [message],
    SIGNED,
  );
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), public_key]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  assert.ok(verify(null, message, key, signature));
});
