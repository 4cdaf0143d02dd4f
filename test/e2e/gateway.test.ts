// Goal: a Motoko canister is a web site, certified in both versions, streamed, and updated, and a
// browser is told what is wrong when it is not. Method: a canister that serves what the test stores,
// on a real node, asked by plain HTTP.

import assert from "node:assert/strict";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { utf8Bytes } from "gyrotron/base";
import { encodeSelfDescribedCbor, hashOfMap, sha256 } from "gyrotron/crypto";
import { compileFile } from "gyrotron/node";
import { encodeHashTree, hashOfTree, type HashTree } from "gyrotron/replica";
import { type RunningNode, startNode, temporaryFolder } from "./running-node.ts";

type Header = [string, string];

interface Stored {
  url: string;
  status: number;
  headers: Header[];
  tail: string;
  parts: Uint8Array[];
}

const STORED = IDL.Record({
  url: IDL.Text,
  status: IDL.Nat16,
  headers: IDL.Vec(IDL.Tuple(IDL.Text, IDL.Text)),
  tail: IDL.Text,
  parts: IDL.Vec(IDL.Vec(IDL.Nat8)),
});
const EXPRESSION =
  'default_certification(ValidationArgs{certification:Certification{no_request_certification:Empty{},response_certification:ResponseCertification{certified_response_headers:ResponseHeaderList{headers:["Content-Type"]}}}})';
const MANAGEMENT = Principal.managementCanister();

let node: RunningNode;
let agent: HttpAgent;
let site: Principal;
let bare: Principal;

before(async () => {
  const source = resolve(import.meta.dirname, "site/main.mo");
  const [started, module] = await Promise.all([startNode(temporaryFolder()), compileFile(source)]);
  node = started;
  agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true });
  [site, bare] = [await create(), await create()];
  const mode = IDL.Variant({ install: IDL.Null });
  const bytes = IDL.Vec(IDL.Nat8);
  const install = { mode, canister_id: IDL.Principal, wasm_module: bytes, arg: bytes };
  await manage("install_code", IDL.Record(install), {
    mode: { install: null },
    canister_id: site,
    wasm_module: module.wasm,
    arg: IDL.encode([], []),
  });
  await store();
});

after(() => node.stop());

async function manage(method: string, type: IDL.Type, value: unknown): Promise<Uint8Array> {
  const { canister_id } = value as { canister_id?: Principal };
  const { reply } = await agent.update(MANAGEMENT, {
    methodName: method,
    arg: IDL.encode([type], [value]),
    effectiveCanisterId: canister_id ?? MANAGEMENT,
  });
  return reply;
}

async function create(): Promise<Principal> {
  const amount = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
  const reply = await manage("provisional_create_canister_with_cycles", amount, { amount: [] });
  const [{ canister_id }] = IDL.decode(
    [IDL.Record({ canister_id: IDL.Principal })],
    reply,
  ) as unknown as [{ canister_id: Principal }];
  return canister_id;
}

function labeled(label: string | Uint8Array, tree: HashTree): HashTree {
  return [2, typeof label === "string" ? utf8Bytes(label) : label, tree];
}

function base64(bytes: Uint8Array): string {
  return `:${Buffer.from(bytes).toString("base64")}:`;
}

/** Certifies assets in version 1, a page in version 2, and stores answers that lie about both. */
async function store(): Promise<void> {
  const text = utf8Bytes("certified text");
  const parts = [0, 1, 2].map((index) => new Uint8Array(600_000).fill(65 + index));
  const page = utf8Bytes("<p>page</p>");
  const certified = {
    "content-type": "text/html",
    "ic-certificateexpression": EXPRESSION,
    ":ic-cert-status": 200n,
  };
  const type: Header = ["Content-Type", "text/html"];
  const exprPath = ["http_expr", "page", "<$>"];
  const pageLeaf = [
    ...exprPath,
    sha256(utf8Bytes(EXPRESSION)),
    new Uint8Array(0),
    sha256(hashOfMap(certified), sha256(page)),
  ].reduceRight<HashTree>((tree, label) => labeled(label, tree), [3, new Uint8Array(0)]);
  const leaf = (path: string, ...body: Uint8Array[]): HashTree =>
    labeled(path, [3, sha256(...body)]);
  const assets = labeled("http_assets", [1, leaf("/stream", ...parts), leaf("/text", text)]);
  const tree: HashTree = [1, assets, pageLeaf];
  const treeField = `tree=${base64(encodeHashTree(tree))}`;
  const version2 = `${treeField}, version=2, expr_path=${base64(encodeSelfDescribedCbor(exprPath))}`;
  const plain: Header[] = [
    ["content-type", "text/plain"],
    ["X-Site", "yes"],
    ["Connection", "close"],
  ];
  const pageHeaders: Header[] = [type, ["IC-CertificateExpression", EXPRESSION], ["X-Site", "no"]];
  const answers: Stored[] = [
    { url: "/text", status: 200, headers: plain, tail: treeField, parts: [text] },
    { url: "/stream", status: 200, headers: [], tail: treeField, parts },
    { url: "/page", status: 200, headers: pageHeaders, tail: version2, parts: [page] },
    { url: "/bare", status: 404, headers: plain, tail: "", parts: [text] },
  ];
  await put(hashOfTree(tree), answers);
}

let stored: { root: Uint8Array; answers: Stored[] };

async function put(root: Uint8Array, answers: Stored[]): Promise<void> {
  stored = { root, answers };
  const arg = IDL.encode([IDL.Vec(IDL.Nat8), IDL.Vec(STORED)], [root, answers]);
  await agent.update(site, { methodName: "put", arg });
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** One request, with the host name that a browser would send. */
function ask(
  host: string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: Uint8Array } = {},
): Promise<Answer> {
  const { promise, resolve: answered, reject } = Promise.withResolvers<Answer>();
  const { method = "GET", headers = {}, body } = options;
  const sent = httpRequest(
    { host: "127.0.0.1", port: node.port, path, method, headers: { host, ...headers } },
    (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        answered({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    },
  );
  sent.on("error", reject);
  sent.end(body);
  return promise;
}

function host(canister = site, raw = ""): string {
  return `${canister.toText()}.${raw}localhost:${node.port}`;
}

test("version 1: a certified asset arrives, by host name and by canisterId", async () => {
  const own = await ask(host(), "/text");
  assert.equal(own.status, 200);
  assert.equal(own.body, "certified text");
  assert.equal(own.headers["x-site"], "yes");
  assert.equal(own.headers["access-control-allow-origin"], "*");
  assert.notEqual(own.headers.connection, "close", "connections are the gateway's");
  const query = `/text?canisterId=${site.toText()}`;
  const local = `localhost:${node.port}`;
  assert.equal((await ask(local, query)).body, "certified text");
  const referer = `http://${local}${query}`;
  assert.equal((await ask(local, "/text", { headers: { referer } })).body, "certified text");
  const elsewhere = { referer: `http://example.org${query}` };
  assert.equal((await ask(local, "/text", { headers: elsewhere })).status, 404);
});

test("version 2: only certified headers arrive", async () => {
  const { status, headers, body } = await ask(host(), "/page");
  assert.equal(body, "<p>page</p>");
  assert.equal(status, 200);
  assert.equal(headers["content-type"], "text/html");
  assert.equal(headers["x-site"], undefined);
});

test("a streamed body is put together, and certified as a whole", async () => {
  const { status, body } = await ask(host(), "/stream");
  assert.equal(status, 200);
  assert.equal(body.length, 1_800_000);
  assert.equal(body[1_199_999], "B");
});

test("tampered answers are not shown, except at the raw host name", async () => {
  const { root, answers } = stored;
  const tampered = answers.map((answer) => ({
    ...answer,
    parts: answer.parts.map((part, index) =>
      index === answer.parts.length - 1 ? part.map((byte) => byte ^ 1) : part,
    ),
  }));
  await put(root, tampered);
  for (const [path, problem] of [
    ["/text", "the body is not the one that the canister has certified"],
    ["/stream", "the body is not the one that the canister has certified"],
    ["/page", "status, headers and body are not what the canister has certified"],
    ["/bare", "the answer has no header IC-Certificate"],
  ] as const) {
    const { status, body } = await ask(host(), path);
    assert.equal(status, 502, path);
    assert.match(body, new RegExp(problem), path);
    assert.notEqual((await ask(host(site, "raw."), path)).status, 502);
  }
  await put(new Uint8Array(32), answers);
  assert.match((await ask(host(), "/text")).body, /the canister has not certified this tree/);
  assert.equal((await ask(host(site, "raw."), "/text")).body, "certified text");
  await put(root, answers);
  assert.equal((await ask(host(), "/text")).body, "certified text");
});

test("the canister may ask for an update, which changes its state", async () => {
  const body = new Uint8Array(100_000);
  const first = await ask(host(), "/count", { method: "POST", body });
  assert.equal(first.status, 201);
  assert.equal(first.body, "POST 1 100000");
  assert.equal(first.headers["x-count"], "1");
  assert.equal((await ask(host(), "/count", { method: "PUT" })).body, "PUT 2 0");
});

test("failures have a status and say what went wrong, as text or as a page", async () => {
  const absent = Principal.fromUint8Array(Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 0, 1, 1));
  for (const [address, path, status, text] of [
    [host(absent), "/", 404, /There is no such canister\nIC0301: Canister \S+ not found/],
    [host(bare), "/", 404, /The canister has no code/],
    [host(), "/trap", 500, /The canister failed\nIC0503: .*on purpose/],
    [host(), "/nowhere", 502, /The answer does not verify/],
  ] as const) {
    const answer = await ask(address, path);
    assert.equal(answer.status, status);
    assert.match(answer.body, text);
  }
  const page = await ask(host(absent), "/", { headers: { accept: "text/html,*/*" } });
  assert.match(page.headers["content-type"] ?? "", /^text\/html/);
  assert.match(page.body, /<h1>There is no such canister<\/h1>/);
  const large = await ask(host(), "/text", { method: "POST", body: new Uint8Array(2_100_000) });
  assert.equal(large.status, 413);
  const preflight = await ask(host(), "/text", {
    method: "OPTIONS",
    headers: { "access-control-request-method": "PUT" },
  });
  assert.equal(preflight.status, 204);
});

test("the interface for agents is at every host name", async () => {
  const { status, headers } = await ask(host(), "/api/v2/status");
  assert.equal(status, 200);
  assert.equal(headers["content-type"], "application/cbor");
});

test("every canister has a page with its interface, which calls its methods", async () => {
  const id = site.toText();
  const local = `localhost:${node.port}`;
  const page = await ask(local, `/_/candid?canisterId=${id}`);
  assert.equal(page.status, 200);
  assert.match(page.headers["content-type"] ?? "", /^text\/html/);
  assert.match(page.body, /<form data-method="greet">.*1: text.*2: nat.*<button>Query<\/button>/);
  assert.match(page.body, /<form data-method="add">.*1: int.*<button>Call<\/button>/);
  assert.doesNotMatch(page.body, /(src|href)=/, "nothing is loaded from elsewhere");
  const call = (method: string, text: string, canister = id): Promise<Answer> =>
    ask(local, `/_/candid/call?canisterId=${canister}&method=${method}`, {
      method: "POST",
      body: utf8Bytes(text),
    });
  assert.equal((await call("greet", '("a\\"b", 2)')).body, '("hello a\\"b; hello a\\"b; ")');
  const before = (await call("add", "(0)")).body;
  assert.match(before, /^\(record \{ total = 2 : int;? \}\)$/);
  assert.match((await call("add", "(40)")).body, /total = 42 : int/);
  const trapped = await call("add", "(-1)");
  assert.equal(trapped.status, 422);
  assert.match(trapped.body, /^rejected \(IC0503\): .*less than nothing/);
  const wrong = await call("greet", "(1, 2)");
  assert.equal(wrong.status, 400);
  assert.match(wrong.body, /text/);
  const nowhere = await call("go", "()", bare.toText());
  assert.equal(nowhere.status, 422);
  assert.match(nowhere.body, /IC0537/);
  const empty = await ask(local, `/_/candid?canisterId=${bare.toText()}`);
  assert.match(empty.body, /publishes no interface.*/);
  for (const [path, status] of [
    ["/_/candid", 200],
    ["/_/candid?canisterId=x", 400],
    ["/_/candid?canisterId=uqqxf-5h777-77774-qaaaa-cai", 404],
    ["/_/nowhere", 404],
    ["/_/candid/call", 405],
  ] as const)
    assert.equal((await ask(local, path)).status, status, path);
});
