// Goal: every answer of a node has its HTTP status, and a node that misbehaves is not silent. Method: a
// fake node behind the real server.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { concatBytes } from "gyrotron/base";
import {
  type CborMap,
  decodeCbor,
  DOMAIN_REQUEST,
  encodeSelfDescribedCbor,
  formatPrincipal,
  hashOfMap,
  selfAuthenticating,
} from "gyrotron/crypto";
import type { CallOutcome, CallRequest, NodeCore } from "../node-contract.ts";
import { ApiHandler } from "./api-handler.ts";
import type { HttpReply } from "./http-reply.ts";
import { HttpServerError } from "./http-error.ts";
import { HttpServer } from "./http-server.ts";

const CANISTER = Uint8Array.of(128, 0, 0, 0, 0, 0, 0, 0, 1, 1);
const PATH = `/api/v4/canister/${formatPrincipal(CANISTER)}/call`;

test("until a node is attached every request is told to come back", async (context) => {
  const { url } = await listen(context);
  const response = await fetch(`${url}/api/v2/status`);
  assert.equal(response.status, 503);
  assert.equal(await response.text(), "The node is starting.");
});

test("a port that is taken is an error of its own", async (context) => {
  const { server } = await listen(context);
  await assert.rejects(HttpServer.listen({ host: "127.0.0.1", port: server.port }), (error) => {
    assert.ok(error instanceof HttpServerError);
    assert.deepEqual(error.info, {
      code: "http/port-in-use",
      host: "127.0.0.1",
      port: server.port,
    });
    return true;
  });
});

for (const [name, outcome, status, inBody] of [
  [
    "a finished call",
    { kind: "certified", certificate: Uint8Array.of(1, 2, 3) },
    200,
    "certificate",
  ],
  ["a call that takes long", { kind: "pending" }, 202, undefined],
  ["a full mempool", { kind: "overloaded" }, 503, undefined],
  [
    "a refused call",
    {
      kind: "refused",
      rejection: {
        kind: "rejected",
        rejectCode: 3,
        message: "no such canister",
        errorCode: "IC0301",
      },
    },
    200,
    "reject_message",
  ],
] as const) {
  test(`${name} is answered with ${status}`, async (context) => {
    const { url, calls } = await listen(context, () => Promise.resolve(outcome as CallOutcome));
    const response = await fetch(url + PATH, post(signedCall()));
    assert.equal(response.status, status);
    assert.equal(calls.length, 1);
    const body = new Uint8Array(await response.arrayBuffer());
    if (inBody !== undefined) assert.ok((decodeCbor(body) as CborMap).has(inBody));
  });
}

test("a node that fails is unavailable, not silent", async (context) => {
  const { url } = await listen(context, () => Promise.reject(new TypeError("gone")));
  const response = await fetch(url + PATH, post(signedCall()));
  assert.equal(response.status, 503);
  assert.equal(await response.text(), "Certified state unavailable. Please try again.");
});

test("more requests than the node takes at once are told to come back", async (context) => {
  const answers = Promise.withResolvers<never>();
  const node: Partial<NodeCore> = {
    ...fakeNode(() => Promise.resolve({ kind: "overloaded" })),
    query: () => answers.promise,
    readState: () => answers.promise,
  };
  const api = new ApiHandler(node as NodeCore);
  const open: unknown[] = [];
  for (const [kind, status, text] of [
    ["query", 429, "The service is overloaded."],
    ["read_state", 503, "Service is overloaded, try again later."],
  ] as const) {
    const route = api.postRoute(
      PATH.replace("v4", "v3").replace(/call$/, kind),
      "application/cbor",
    );
    assert.ok("endpoint" in route);
    const body = anonymous(kind);
    for (let count = 0; count < 1_000; count++) open.push(api.post(route, body));
    const reply = await api.post(route, body);
    assert.equal(reply.status, status);
    assert.equal(new TextDecoder().decode(reply.body), text);
  }
  answers.reject(new TypeError("gone"));
  for (const reply of await Promise.all(open)) assert.equal((reply as HttpReply).status, 503);
  const { url } = await listen(context, () => Promise.resolve({ kind: "overloaded" }));
  const full = await fetch(url + PATH, post(signedCall()));
  assert.equal(await full.text(), "Service is overloaded, try again later.");
});

test("what takes too long is answered with 504, and a later answer is dropped", async (context) => {
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0, replyMsMax: 200 });
  context.after(() => server.close());
  const [answer, asked] = [Promise.withResolvers<never>(), Promise.withResolvers<void>()];
  const node: Partial<NodeCore> = {
    ...fakeNode(() => {
      asked.resolve();
      return answer.promise;
    }),
    query: () => answer.promise,
    readState: () => answer.promise,
  };
  server.attach(node as NodeCore);
  const url = `http://127.0.0.1:${server.port}`;
  const replies = await Promise.all([
    fetch(url + PATH, post(signedCall())),
    fetch(url + PATH.replace("v4", "v3").replace(/call$/, "query"), post(anonymous("query"))),
    fetch(
      url + PATH.replace("v4", "v3").replace(/call$/, "read_state"),
      post(anonymous("read_state")),
    ),
  ]);
  await asked.promise;
  for (const reply of replies) {
    assert.equal(reply.status, 504);
    assert.equal(await reply.text(), "The request timed out.");
    assert.equal(reply.headers.get("access-control-allow-origin"), "*");
  }
  answer.reject(new TypeError("too late"));
  // The connection and the server go on.
  assert.equal((await fetch(`${url}/nowhere`, post(signedCall()))).status, 404);
});

test("a request that does not arrive is answered with 408 and cut", async (context) => {
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0, requestMsMax: 300 });
  context.after(() => server.close());
  server.attach(fakeNode(() => Promise.resolve({ kind: "pending" })));
  const socket = connect(server.port, "127.0.0.1");
  socket.write(`POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\n`);
  socket.write("content-length: 100\r\n\r\nbeginning");
  let received = "";
  socket.on("data", (data) => (received += data.toString("latin1")));
  await once(socket, "close");
  assert.match(received, /^HTTP\/1\.1 408 /);
});

test("the node gets the envelope byte for byte, as a plain array that owns what it shows", async (context) => {
  const { url, calls } = await listen(context, () => Promise.resolve({ kind: "pending" }));
  const body = signedCall(new Uint8Array(200_000).fill(7));
  await fetch(url + PATH, post(body));
  const [call] = calls;
  assert.deepEqual(call?.envelope, body);
  assert.equal(Buffer.isBuffer(call?.envelope), false);
  assert.equal(call?.content.argument.length, 200_000);
  assert.equal(Buffer.isBuffer(call?.content.argument), false);
});

test("one connection serves many requests, refused ones between accepted ones", async (context) => {
  const { url, calls } = await listen(context, () => Promise.resolve({ kind: "pending" }));
  for (let round = 0; round < 20; round++) {
    assert.equal((await fetch(url + PATH, post(signedCall()))).status, 202);
    assert.equal((await fetch(url + PATH, post(Uint8Array.of(0)))).status, 400);
    assert.equal((await fetch(`${url}/nowhere`, post(signedCall()))).status, 404);
  }
  assert.equal(calls.length, 20);
});

test("closing lets a running request end", async () => {
  const answer = Promise.withResolvers<CallOutcome>();
  const asked = Promise.withResolvers<void>();
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 });
  server.attach(
    fakeNode(() => {
      asked.resolve();
      return answer.promise;
    }),
  );
  const response = fetch(`http://127.0.0.1:${server.port}${PATH}`, post(signedCall()));
  await asked.promise;
  const closed = server.close();
  answer.resolve({ kind: "pending" });
  assert.equal((await response).status, 202);
  await closed;
});

/** A server on any port, with a node if there is a way to answer calls. */
async function listen(
  context: TestContext,
  submitCall?: (request: CallRequest) => Promise<CallOutcome>,
): Promise<{ server: HttpServer; url: string; calls: CallRequest[] }> {
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 });
  context.after(() => server.close());
  const calls: CallRequest[] = [];
  if (submitCall !== undefined) {
    server.attach(
      fakeNode((request) => {
        calls.push(request);
        return submitCall(request);
      }),
    );
  }
  return { server, url: `http://127.0.0.1:${server.port}`, calls };
}

/** A node that only takes calls. */
function fakeNode(submitCall: NodeCore["submitCall"]): NodeCore {
  const node: Pick<NodeCore, "subnetId" | "nowNs" | "submitCall"> = {
    subnetId: new Uint8Array(29),
    nowNs: () => BigInt(Date.now()) * 1_000_000n,
    submitCall,
  };
  return node as NodeCore;
}

function anonymous(kind: "query" | "read_state"): Uint8Array {
  const common = { request_type: kind, sender: Uint8Array.of(4), ingress_expiry: 0n };
  const call = { canister_id: CANISTER, method_name: "greet", arg: new Uint8Array(0) };
  const content = kind === "query" ? { ...common, ...call } : { ...common, paths: [] };
  return encodeSelfDescribedCbor({ content });
}

function signedCall(argument: Uint8Array = new Uint8Array(0)): Uint8Array {
  const der = Buffer.concat([
    Buffer.from("302e020100300506032b657004220420", "hex"),
    randomBytes(32),
  ]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
  const content = {
    request_type: "call",
    sender: selfAuthenticating(publicKey),
    canister_id: CANISTER,
    method_name: "greet",
    arg: argument,
    ingress_expiry: BigInt(Date.now() + 60_000) * 1_000_000n,
  };
  const signature = sign(null, concatBytes(DOMAIN_REQUEST, hashOfMap(content)), key);
  const proof = { sender_pubkey: publicKey, sender_sig: new Uint8Array(signature) };
  return encodeSelfDescribedCbor({ content, ...proof });
}

function post(body: Uint8Array): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/cbor" },
    body: new Uint8Array(body),
  };
}
