// The HTTP interface byte by byte: every way a request can be wrong is refused with its status and
// text, and leaves the state as it was; replays are answered and not executed.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { type CborMap, decodeCbor, encodeSelfDescribedCbor } from "gyrotron/crypto";
import {
  ANONYMOUS,
  callFields,
  createRawIdentity,
  encodeEnvelope,
  nowNs,
  type RequestFields,
  signRequest,
} from "./envelope.ts";
import { runCli, type RunningNode, startNode, temporaryFolder } from "./running-node.ts";

const none = IDL.encode([], []);
const identity = createRawIdentity();
const MINUTE_NS = 60_000_000_000n;
let node: RunningNode;
let canisterText: string;
let canister: Uint8Array;

before(async () => {
  const folder = temporaryFolder();
  node = await startNode(folder);
  const file = resolve(import.meta.dirname, "../../examples/counter/main.mo");
  const deployed = await runCli(["deploy", file, "--port", String(node.port), "--data", folder]);
  assert.equal(deployed.status, 0, deployed.stderr);
  canisterText = /installed as ([a-z0-9-]+)/.exec(deployed.stdout)?.[1] ?? "";
  canister = Principal.fromText(canisterText).toUint8Array();
});

after(() => node.stop());

test("status tells the root key", async () => {
  const response = await fetch(`${node.url}/api/v2/status`);
  assert.equal(response.headers.get("content-type"), "application/cbor");
  const status = decodeCbor(new Uint8Array(await response.arrayBuffer())) as CborMap;
  assert.equal((status.get("root_key") as Uint8Array).length, 133);
  assert.equal(status.get("replica_health_status"), "healthy");
});

test("browsers may ask from any origin", async () => {
  const response = await fetch(callUrl("v4", "call"), { method: "OPTIONS" });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  assert.match(response.headers.get("access-control-allow-headers") ?? "", /content-type/);
});

for (const [name, method, path, status] of [
  ["an unknown path", "GET", "/", 404],
  ["an unknown path", "POST", "/api/v9/status", 404],
  ["a version that does not exist", "POST", "/api/v5/canister/aaaaa-aa/call", 404],
  ["a GET where a POST belongs", "GET", "/api/v3/canister/aaaaa-aa/query", 405],
  ["a POST where a GET belongs", "POST", "/api/v2/status", 405],
  ["a DELETE", "DELETE", "/api/v2/status", 405],
  ["no principal in the URL", "POST", "/api/v3/canister/nonsense/query", 400],
  ["another subnet", "POST", "/api/v3/subnet/aaaaa-aa/read_state", 400],
] as const) {
  test(`${name} is refused: ${method} ${path}`, async () => {
    const headers = { "content-type": "application/cbor" };
    const response = await fetch(`${node.url}${path}`, { method, headers });
    assert.equal(response.status, status, await response.text());
  });
}

test("a wrong content type is refused", async () => {
  const headers = { "content-type": "text/plain" };
  const response = await fetch(callUrl("v4", "call"), { method: "POST", headers, body: "x" });
  assert.equal(response.status, 400);
  assert.equal(await response.text(), "Unexpected content-type, expected application/cbor.");
});

for (const [name, spoil, status, text] of [
  [
    "bytes that are no CBOR",
    () => Uint8Array.of(0xff, 0xff),
    400,
    /^Could not parse body as call message: /,
  ],
  [
    "CBOR that is no envelope",
    () => encodeSelfDescribedCbor({ a: 1n }),
    400,
    /^Could not parse body as call message: /,
  ],
  ["an empty body", () => new Uint8Array(0), 400, /^Could not parse body as call message: /],
  [
    "a query at the call endpoint",
    () => signed({ ...fields(), request_type: "query" }),
    400,
    /request_type/,
  ],
  [
    "a signature of something else",
    () => withProof(fields(), signRequest(fields(), identity).body),
    400,
    /^Invalid signature: Invalid basic signature: /,
  ],
  [
    "a missing signature",
    () => encodeEnvelope(fields(), {}),
    400,
    /^Missing signature from user: /,
  ],
  [
    "a sender who is not the key's owner",
    () => signed({ ...fields(), sender: createRawIdentity().sender }),
    400,
    /^The user id '.+' does not match the public key '/,
  ],
  [
    "an anonymous sender who signs",
    () => signed({ ...fields(), sender: ANONYMOUS }),
    400,
    /^Signature is not allowed for the anonymous user\./,
  ],
  [
    "an expiry in the past",
    () => signed({ ...fields(), ingress_expiry: nowNs() - 2n * MINUTE_NS }),
    400,
    /^Invalid request expiry: /,
  ],
  [
    "an expiry too far ahead",
    () => signed({ ...fields(), ingress_expiry: nowNs() + 7n * MINUTE_NS }),
    400,
    /^Invalid request expiry: /,
  ],
  [
    "another canister than the URL's",
    () => signed({ ...fields(), canister_id: Uint8Array.of(1, 1, 1) }),
    400,
    /^Specified CanisterId .+ does not match effective canister id in URL /,
  ],
  [
    "a long nonce",
    () => signed({ ...fields(), nonce: new Uint8Array(33) }),
    400,
    /^Nonce in request is too big: got 33 bytes/,
  ],
  ["an unknown field", () => signed({ ...fields(), surprise: 1n }), 400, /unknown field surprise/],
  [
    "a message of more than 2 MiB",
    () => signed({ ...fields(), arg: new Uint8Array(2 * 1024 * 1024) }),
    413,
    /is too large\. Message byte size \d+ is larger than the max allowed 2097152\./,
  ],
] as const) {
  test(`${name}: refused, and the state is unchanged`, async () => {
    const valueBefore = await counterValue();
    const answer = await post(callUrl("v4", "call"), spoil());
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.text, text);
    assert.equal(await counterValue(), valueBefore);
  });
}

test("a body over the limit is refused before it has arrived", async () => {
  const { promise, resolve: answered } = Promise.withResolvers<string>();
  const socket = connect(node.port, "127.0.0.1");
  socket.write(
    `POST /api/v4/canister/${canisterText}/call HTTP/1.1\r\nhost: x\r\n` +
      "content-type: application/cbor\r\ncontent-length: 6000000\r\n\r\n",
  );
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  socket.on("close", () => answered(text));
  assert.match(await promise, /^HTTP\/1\.1 413 /);
});

test("a chunked body over the limit is refused while it arrives", async () => {
  const { promise, resolve: ended } = Promise.withResolvers<string>();
  const socket = connect(node.port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  // The node may close while the rest of the body is under way, which resets the connection.
  socket.on("error", () => socket.destroy());
  socket.on("close", () => ended(text));
  socket.write(
    `POST /api/v4/canister/${canisterText}/call HTTP/1.1\r\nhost: x\r\n` +
      "content-type: application/cbor\r\ntransfer-encoding: chunked\r\n\r\n",
  );
  for (let sent = 0; sent < 6; sent++) {
    socket.write(`100000\r\n${"x".repeat(0x100000)}\r\n`);
  }
  assert.match(await promise, /^(HTTP\/1\.1 413 |$)/);
  assert.equal((await fetch(`${node.url}/api/v2/status`)).status, 200);
});

test("a replayed call is answered again and executed once", async () => {
  const valueBefore = await counterValue();
  const { body } = signRequest(fields(), identity);
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => post(callUrl("v4", "call"), body)),
  );
  answers.push(await post(callUrl("v3", "call"), body));
  answers.push(await post(callUrl("v2", "call"), body));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 200, 200, 202],
  );
  assert.equal(await counterValue(), valueBefore + 1n);
});

test("a replay survives a restart of the node", async (context) => {
  const folder = temporaryFolder();
  const first = await startNode(folder);
  context.after(() => first.stop());
  const file = resolve(import.meta.dirname, "../../bench/http/counter.mo");
  await runCli(["deploy", file, "--port", String(first.port), "--data", folder]);
  const list = await runCli(["canister", "list", "--data", folder]);
  const id = Principal.fromText(list.stdout.trim().split(/\s+/)[1] ?? "");
  const call = callFields("call", identity.sender, id.toUint8Array(), "increment", none);
  const { body } = signRequest(call, identity);
  const path = `api/v4/canister/${id.toText()}/call`;
  assert.equal((await post(`${first.url}/${path}`, body)).status, 200);
  assert.equal(await first.stop(), 0);
  const second = await startNode(folder);
  context.after(() => second.stop());
  assert.equal((await post(`${second.url}/${path}`, body)).status, 200);
  const read = await runCli([
    "canister",
    "call",
    id.toText(),
    "get",
    "--query",
    "--port",
    String(second.port),
    "--data",
    folder,
  ]);
  assert.equal(read.stdout.trim(), "(1 : nat)", read.stderr);
});

test("a refused call says why without a certificate", async () => {
  const missing = Principal.fromText("aaaaa-aa").toUint8Array();
  const create = { ...fields(), canister_id: missing, method_name: "create_canister" };
  const answer = await post(callUrl("v4", "call"), signed(create));
  assert.equal(answer.status, 200);
  const reply = decodeCbor(answer.body) as CborMap;
  assert.equal(reply.get("status"), "non_replicated_rejection");
  assert.match(
    String(reply.get("reject_message")),
    /Only canisters can call ic00 method create_canister/,
  );
  const old = await post(callUrl("v2", "call"), signed(create));
  assert.equal((decodeCbor(old.body) as CborMap).get("error_code"), "IC0406");
});

for (const version of ["v2", "v3"] as const) {
  test(`queries and state reads answer at ${version}`, async () => {
    const query = callFields("query", identity.sender, canister, "get", none);
    const answer = await post(callUrl(version, "query"), signed(query));
    assert.equal((decodeCbor(answer.body) as CborMap).get("status"), "replied");
    const read = {
      request_type: "read_state",
      sender: ANONYMOUS,
      ingress_expiry: nowNs() + MINUTE_NS,
      paths: [[Buffer.from("time")]],
    };
    const state = await post(
      callUrl(version, "read_state"),
      encodeEnvelope(read as unknown as RequestFields, {}),
    );
    assert.ok(
      (decodeCbor(state.body) as CborMap).get("certificate") instanceof Uint8Array,
      state.text,
    );
  });
}

test("another sender's request is not shown", async () => {
  const { requestId, body } = signRequest(fields(), identity);
  assert.equal((await post(callUrl("v4", "call"), body)).status, 200);
  const stranger = createRawIdentity();
  const read = {
    request_type: "read_state",
    sender: stranger.sender,
    ingress_expiry: nowNs() + MINUTE_NS,
    paths: [[Buffer.from("request_status"), requestId]],
  } as unknown as RequestFields;
  const answer = await post(callUrl("v3", "read_state"), signRequest(read, stranger).body);
  assert.equal(answer.status, 403);
  assert.match(answer.text, /not signed by the caller/);
});

function fields(): RequestFields {
  return callFields("call", identity.sender, canister, "increment", none);
}

function signed(content: RequestFields): Uint8Array {
  return signRequest(content, identity).body;
}

/** The content with the signature of another request. */
function withProof(content: RequestFields, other: Uint8Array): Uint8Array {
  const envelope = decodeCbor(other) as CborMap;
  return encodeEnvelope(content, {
    sender_pubkey: envelope.get("sender_pubkey") as Uint8Array,
    sender_sig: envelope.get("sender_sig") as Uint8Array,
  });
}

function callUrl(version: string, action: "call" | "query" | "read_state"): string {
  return `${node.url}/api/${version}/canister/${canisterText}/${action}`;
}

async function post(
  url: string,
  body: Uint8Array,
): Promise<{ status: number; body: Uint8Array; text: string }> {
  const headers = { "content-type": "application/cbor" };
  const response = await fetch(url, { method: "POST", headers, body: new Uint8Array(body) });
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, body: bytes, text: new TextDecoder().decode(bytes) };
}

async function counterValue(): Promise<bigint> {
  const query = callFields("query", identity.sender, canister, "get", none);
  const { body } = await post(callUrl("v3", "query"), signed(query));
  const reply = (decodeCbor(body) as CborMap).get("reply") as CborMap;
  return IDL.decode([IDL.Nat], reply.get("arg") as Uint8Array)[0] as unknown as bigint;
}
