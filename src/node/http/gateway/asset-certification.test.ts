// Asset certification with a network and a canister made here: hashes against published vectors of the
// reference implementation, both versions, which path may answer for which URL, and every lie.

import { deepEqual, equal } from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import { encodeUleb128, utf8Bytes } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  canisterIdFromU64,
  encodeSelfDescribedCbor,
  sha256,
  signBls,
} from "gyrotron/crypto";
import {
  certificateMessage,
  encodeCertificate,
  encodeHashTree,
  type HashTree,
  hashOfTree,
} from "gyrotron/replica";
import { checkCertification, hashOfRequest, hashOfResponse } from "./asset-certification.ts";
import type { CanisterRequest, CanisterResponse, HeaderField } from "./canister-http.ts";
import { parseCertificationExpression } from "./certification-expression.ts";

const secret = blsSecretKeyFromUniform(new Uint8Array(48).fill(1));
const rootKeyDer = blsPublicKeyDer(secret);
const canisterId = canisterIdFromU64(3n);
const nowNs = 1_800_000_000_000_000_000n;
const MINUTE = 60_000_000_000n;

function labeled(label: string | Uint8Array, tree: HashTree): HashTree {
  return [2, typeof label === "string" ? utf8Bytes(label) : label, tree];
}

function path(labels: readonly (string | Uint8Array)[], end: HashTree): HashTree {
  return labels.reduceRight((tree, label) => labeled(label, tree), end);
}

const EMPTY_LEAF: HashTree = [3, new Uint8Array(0)];

function base64(bytes: Uint8Array): string {
  return `:${Buffer.from(bytes).toString("base64")}:`;
}

interface Lie {
  data?: Uint8Array;
  timeNs?: bigint;
  secret?: Uint8Array;
}

function certificateHeader(tree: HashTree, exprPath?: string[], lie: Lie = {}): string {
  const data = lie.data ?? hashOfTree(tree);
  const stateTree: HashTree = [
    1,
    path(["canister", canisterId, "certified_data"], [3, data]),
    labeled("time", [3, encodeUleb128(lie.timeNs ?? nowNs)]),
  ];
  const signature = signBls(lie.secret ?? secret, certificateMessage(hashOfTree(stateTree)));
  const certificate = encodeCertificate(stateTree, signature);
  const fields = [`certificate=${base64(certificate)}`, `tree=${base64(encodeHashTree(tree))}`];
  if (exprPath !== undefined)
    fields.push("version=2", `expr_path=${base64(encodeSelfDescribedCbor(exprPath))}`);
  return fields.join(", ");
}

function get(url: string, headers: HeaderField[] = []): CanisterRequest {
  return { method: "GET", url, headers, body: new Uint8Array(0) };
}

function answer(body: string | Uint8Array, headers: HeaderField[], status = 200): CanisterResponse {
  const bytes = typeof body === "string" ? utf8Bytes(body) : body;
  return { status, headers, body: bytes, isUpgrade: false, stream: undefined };
}

function judge(request: CanisterRequest, response: CanisterResponse): string {
  const result = checkCertification(request, response, { canisterId, rootKeyDer, nowNs });
  return result.ok ? "certified" : result.problem;
}

test("hashes of requests are those of the reference implementation", () => {
  const headers: HeaderField[] = [
    ["Accept-Language", "en"],
    ["Accept-Language", "en-US"],
    ["Host", "https://ic0.app"],
  ];
  const body = Uint8Array.of(0, 1, 2, 3, 4, 5, 6);
  const hash = (url: string, query: string[]): string =>
    hashOfRequest({ method: "POST", url, headers, body }, { headers: ["host"], query }).toHex();
  equal(hash("/", []), "10796453466efb3e333891136b8a5931269f77e40ead9d437fcee94a02fa833c");
  equal(
    hash("/?q=hello+world&name=foo&name=bar&color=purple", ["q", "name"]),
    "3ade1c9054f05bc8bcebd3fd7b884078a6e67c63e5ac4a639fa46a47f5a955c9",
  );
});

test("expressions: the two forms, and what is none", () => {
  const response = `response_certification: ResponseCertification {
    certified_response_headers: ResponseHeaderList { headers: ["Cache-Control", "ETag"] } }`;
  const wrap = (inside: string): string => `default_certification(ValidationArgs{${inside}})`;
  deepEqual(parseCertificationExpression(wrap("no_certification: Empty {}")), { kind: "none" });
  deepEqual(
    parseCertificationExpression(
      wrap(`certification: Certification { no_request_certification: Empty{}, ${response}, }`),
    ),
    {
      kind: "certified",
      request: undefined,
      response: { kind: "only", names: ["cache-control", "etag"] },
    },
  );
  deepEqual(
    parseCertificationExpression(
      wrap(`certification:Certification{request_certification:RequestCertification{
        certified_request_headers:["Accept"],certified_query_parameters:["q"]},
        response_certification:ResponseCertification{response_header_exclusions:ResponseHeaderList{headers:[]}}}`),
    ),
    {
      kind: "certified",
      request: { headers: ["accept"], query: ["q"] },
      response: { kind: "except", names: [] },
    },
  );
  for (const text of [
    "",
    "default_certification()",
    wrap(""),
    wrap("no_certification: Empty {}, certification: Empty {}"),
    wrap("no_certification: Full {}"),
    wrap(`certification: Certification { ${response} }`),
    wrap("certification: Certification { no_request_certification: Empty {} }"),
    `${wrap("no_certification: Empty {}")} x`,
    `${wrap("no_certification: Empty {}")} ^`,
    wrap("no_certification: Empty {").repeat(20),
    `default_certification(${"[".repeat(5000)}`,
    "x".repeat(20_000),
  ])
    equal(parseCertificationExpression(text), undefined, text.slice(0, 80));
});

test("version 1: path and body, also packed; the index answers for what is provably absent", () => {
  const page = utf8Bytes("<p>hello</p>");
  const assets: HashTree = labeled("http_assets", [
    1,
    labeled("/a.txt", [3, sha256(page)]),
    labeled("/index.html", [3, sha256(utf8Bytes("index"))]),
  ]);
  const header = (lie: Lie = {}): HeaderField => [
    "IC-Certificate",
    certificateHeader(assets, undefined, lie),
  ];
  equal(judge(get("/a.txt"), answer(page, [header()])), "certified");
  equal(judge(get("/a%2Etxt?x=1"), answer(page, [header()])), "certified");
  const packed = answer(gzipSync(page), [header(), ["Content-Encoding", "gzip"]]);
  equal(judge(get("/a.txt"), packed), "certified");
  equal(judge(get("/none"), answer("index", [header()])), "certified");
  const body = "the body is not the one that the canister has certified";
  equal(judge(get("/a.txt"), answer("index", [header()])), body);
  equal(judge(get("/a.txt"), answer("<p>hello</p> ", [header()])), body);
  equal(judge(get("/none"), answer(page, [header()])), body);
  equal(judge(get("/%ff"), answer(page, [header()])), "the path of the URL is malformed");
  const pruned: HashTree = labeled("http_assets", [
    1,
    [4, new Uint8Array(32)],
    labeled("/index.html", [3, sha256(page)]),
  ]);
  const hidden: HeaderField = ["ic-certificate", certificateHeader(pruned)];
  equal(
    judge(get("/a.txt"), answer(page, [hidden])),
    "the canister has not certified the path /a.txt",
  );
});

test("certificates: absent, malformed, stale, of another network, of other data", () => {
  const page = utf8Bytes("page");
  const tree = path(["http_assets", "/"], [3, sha256(page)]);
  const judgeHeader = (value?: string): string =>
    judge(get("/"), answer(page, value === undefined ? [] : [["IC-Certificate", value]]));
  equal(judgeHeader(certificateHeader(tree)), "certified");
  equal(judgeHeader(), "the answer has no header IC-Certificate");
  equal(judgeHeader("nonsense"), "the header IC-Certificate is malformed");
  equal(judgeHeader("tree=:AA==:"), "the header IC-Certificate lacks certificate or tree");
  equal(
    judgeHeader("certificate=:AA==:, tree=:AA==:"),
    "the header IC-Certificate is malformed: node is not an array",
  );
  equal(
    judgeHeader(`${certificateHeader(tree)}, version=3`),
    "version 3 of asset certification is not known",
  );
  equal(
    judgeHeader(`${certificateHeader(tree)}, version=2`),
    "the header IC-Certificate lacks expr_path",
  );
  const stale = "the certificate is older than five minutes";
  for (const timeNs of [nowNs - 6n * MINUTE, nowNs + 6n * MINUTE])
    equal(judgeHeader(certificateHeader(tree, undefined, { timeNs })), stale);
  equal(
    judgeHeader(certificateHeader(tree, undefined, { data: new Uint8Array(32) })),
    "the canister has not certified this tree",
  );
  const other = blsSecretKeyFromUniform(new Uint8Array(48).fill(2));
  equal(
    judgeHeader(certificateHeader(tree, undefined, { secret: other })),
    "the certificate is not signed under the root key",
  );
});

const EXPRESSION =
  'default_certification(ValidationArgs{certification:Certification{no_request_certification:Empty{},response_certification:ResponseCertification{certified_response_headers:ResponseHeaderList{headers:["X-Kept"]}}}})';
const REQUEST_EXPRESSION = EXPRESSION.replace(
  "no_request_certification:Empty{}",
  'request_certification:RequestCertification{certified_request_headers:["Accept"],certified_query_parameters:["q"]}',
);

test("version 2: status, certified headers and body; others are left out", () => {
  const kept: HeaderField = ["X-Kept", "yes"];
  const responseHash = hashOfResponse(answer("page", [], 203), [kept], EXPRESSION);
  const exprPath = ["http_expr", "page", "<$>"];
  const tree = path(
    [...exprPath, sha256(utf8Bytes(EXPRESSION)), new Uint8Array(0), responseHash],
    EMPTY_LEAF,
  );
  const headers: HeaderField[] = [
    ["IC-Certificate", certificateHeader(tree, exprPath)],
    ["IC-CertificateExpression", EXPRESSION],
    kept,
    ["X-Other", "no"],
  ];
  const result = checkCertification(get("/page"), answer("page", headers, 203), {
    canisterId,
    rootKeyDer,
    nowNs,
  });
  deepEqual(result, { ok: true, headers: [kept] });
  const lied = "status, headers and body are not what the canister has certified";
  equal(judge(get("/page"), answer("page", headers)), lied);
  equal(judge(get("/page"), answer("Page", headers, 203)), lied);
  equal(judge(get("/page"), answer("page", [...headers, kept], 203)), lied);
  equal(judge(get("/page/"), answer("page", headers, 203)), "expr_path is that of another URL");
  equal(judge(get("/other"), answer("page", headers, 203)), "expr_path is that of another URL");
  const unexpressed = headers.filter(([name]) => name !== "IC-CertificateExpression");
  equal(
    judge(get("/page"), answer("page", unexpressed, 203)),
    "the answer has no header IC-CertificateExpression",
  );
  const none = "default_certification(ValidationArgs{no_certification:Empty{}})";
  const freed: HeaderField[] = [...unexpressed, ["IC-CertificateExpression", none]];
  equal(
    judge(get("/page"), answer("page", freed, 203)),
    "the canister has not certified this IC-CertificateExpression",
  );
  const open = path([...exprPath, sha256(utf8Bytes(none))], EMPTY_LEAF);
  const free: HeaderField[] = [
    ["IC-Certificate", certificateHeader(open, exprPath)],
    ["IC-CertificateExpression", none],
  ];
  equal(judge(get("/page"), answer("anything", free)), "certified");
});

test("version 2: the request may be part of what is certified", () => {
  const exprPath = ["http_expr", "<*>"];
  const request = get("/search?q=1&other=2", [["accept", "text/plain"]]);
  const requestHash = hashOfRequest(request, { headers: ["accept"], query: ["q"] });
  const responseHash = hashOfResponse(answer("found", []), [], REQUEST_EXPRESSION);
  const tree = path(
    [...exprPath, sha256(utf8Bytes(REQUEST_EXPRESSION)), requestHash, responseHash],
    EMPTY_LEAF,
  );
  const headers: HeaderField[] = [
    ["IC-Certificate", certificateHeader(tree, exprPath)],
    ["IC-CertificateExpression", REQUEST_EXPRESSION],
  ];
  const response = answer("found", headers);
  equal(judge(request, response), "certified");
  equal(judge({ ...request, url: "/search?q=1&other=3" }, response), "certified");
  const lied = "status, headers and body are not what the canister has certified";
  equal(judge({ ...request, url: "/search?q=2&other=2" }, response), lied);
  equal(judge({ ...request, method: "POST" }, response), lied);
  equal(judge({ ...request, headers: [["accept", "text/html"]] }, response), lied);
});

test("version 2: a wildcard answers only if nothing more specific may be there", () => {
  const none = "default_certification(ValidationArgs{no_certification:Empty{}})";
  const end = labeled(sha256(utf8Bytes(none)), EMPTY_LEAF);
  const at = (labels: string[]): HashTree => path(labels, end);
  const ask = (url: string, exprPath: string[], level: HashTree): string => {
    const tree = labeled("http_expr", level);
    const headers: HeaderField[] = [
      ["IC-Certificate", certificateHeader(tree, ["http_expr", ...exprPath])],
      ["IC-CertificateExpression", none],
    ];
    return judge(get(url), answer("x", headers));
  };
  const specific = "the tree may have a more specific answer";
  equal(ask("/", ["", "<$>"], at(["", "<$>"])), "certified");
  equal(ask("/a/b", ["<*>"], at(["<*>"])), "certified");
  equal(ask("/a/b", ["a", "<*>"], at(["a", "<*>"])), "certified");
  equal(ask("/a/b", ["a", "", "<*>"], at(["a", "", "<*>"])), "certified");
  equal(ask("/a/", ["a", "", "<*>"], at(["a", "", "<*>"])), "certified");
  equal(ask("/a/b", ["<*>"], [1, at(["<*>"]), at(["a", "<*>"])]), specific);
  equal(ask("/a/b", ["<*>"], [1, at(["<*>"]), at(["b", "<*>"])]), "certified");
  equal(
    ask("/a/b", ["<*>"], [1, at(["<*>"]), [4, new Uint8Array(32)]]),
    "the tree may have an answer for exactly this URL",
  );
  equal(
    ask("/a/b", ["<*>"], [1, at(["<*>"]), at(["a", "b", "<$>"])]),
    "the tree may have an answer for exactly this URL",
  );
  equal(
    ask("/a/b", ["a", "c", "<*>"], at(["a", "c", "<*>"])),
    "expr_path does not answer for this URL",
  );
  equal(ask("/a/b", ["a", "b"], at(["a", "b"])), "expr_path is not a path of the tree of answers");
});
