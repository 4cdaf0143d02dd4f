// Requests of canisters against servers without manners: every outcome is an answer or a failure in
// fixed words, and local networks are out of reach where they should be.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import type { OutcallWork } from "gyrotron/replica";
import {
  type HttpAnswer,
  type HttpFailure,
  isLocalAddress,
  requestOutcall,
} from "./http-client.ts";

let server: Server;
let port: number;
/** What the server sends, and what it has received. */
let script = "";
let received = "";

before(async () => {
  server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      received += data.toString();
      if (script !== "") socket.end(script);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});

after(() => server.close());

function work(change: Partial<OutcallWork> = {}): OutcallWork {
  return {
    canisterId: Uint8Array.of(1),
    url: `http://127.0.0.1:${port}/path`,
    method: "get",
    headers: [],
    body: new Uint8Array(),
    responseBytesMax: 1000,
    transform: undefined,
    node: undefined,
    ...change,
  };
}

async function ask(
  answer: string,
  change: Partial<OutcallWork> = {},
): Promise<HttpAnswer | HttpFailure> {
  [script, received] = [answer, ""];
  return requestOutcall(work(change), { allowLocal: true, timeoutMs: 2_000 });
}

async function failure(answer: string, change: Partial<OutcallWork> = {}): Promise<HttpFailure> {
  const result = await ask(answer, change);
  ok("message" in result, `answered with ${JSON.stringify(result)}`);
  return result;
}

const OK = "HTTP/1.1 200 OK\r\n";

test("headers keep their order, names become lower case, repeated ones stay", async () => {
  const answer = await ask(`${OK}B: 1\r\nA: 2\r\nb: 3\r\nContent-Length: 2\r\n\r\nhi`);
  ok(!("message" in answer));
  deepEqual(
    answer.headers.map(({ name, value }) => `${name}=${value}`),
    ["b=1", "a=2", "b=3", "content-length=2"],
  );
  equal(new TextDecoder().decode(answer.body), "hi");
});

test("what frames the request is the node's alone", async () => {
  const headers = [
    { name: "Content-Length", value: "0" },
    { name: "Transfer-Encoding", value: "chunked" },
    { name: "X-Mine", value: "yes" },
  ];
  await ask(`${OK}Content-Length: 0\r\n\r\n`, {
    method: "post",
    headers,
    body: new TextEncoder().encode("GET / HTTP/1.1"),
  });
  match(received, /^POST \/path HTTP\/1\.1\r\nX-Mine: yes\r\nhost: 127\.0\.0\.1:\d+\r\n/);
  match(received, /content-length: 14\r\n/);
  ok(!/transfer-encoding|Content-Length: 0/i.test(received));
});

test("an encoded body is not decoded, a HEAD has none", async () => {
  const encoded = await ask(`${OK}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc`);
  ok(!("message" in encoded) && new TextDecoder().decode(encoded.body) === "abc");
  const head = await ask(`${OK}Content-Length: 300\r\n\r\n`, { method: "head" });
  ok(!("message" in head) && head.body.length === 0);
});

test("limits of headers and of the whole response", async () => {
  const many = Array.from({ length: 65 }, (_, index) => `h${index}: 1\r\n`).join("");
  match((await failure(`${OK}${many}\r\n`)).message, /65 exceeds maximum 64/);
  match((await failure(`${OK}a: ${"x".repeat(8193)}\r\n\r\n`)).message, /longer than 8192/);
  match((await failure(`${OK}a: ${"x".repeat(70_000)}\r\n\r\n`)).message, /headers are too long/);
  match((await failure(`${OK}a: ${"x".repeat(1_001)}\r\n\r\n`)).message, /size limit 1000/);
  const body = await failure(`${OK}\r\n${"x".repeat(1_001)}`);
  equal(body.message, "Http body exceeds size limit of 1000 bytes.");
  equal(body.isTransient, false);
});

test("silence, garbage and closed doors", async () => {
  const silent = await failure("");
  equal(silent.message, "Timeout while waiting for the response");
  equal(silent.isTransient, true);
  equal((await failure("SSH-2.0\r\n\r\n")).message, "The response is not HTTP");
  match((await failure(`${OK}Content-Length: 10\r\n\r\nshort`)).message, /connection was lost/);
  match((await failure("x", { url: "http://127.0.0.1:1/" })).message, /^Connecting failed/);
  equal((await failure("x", { url: "http://[" })).message, "Failed to parse URL");
  const header = [{ name: "bad name", value: "1" }];
  match((await failure("x", { headers: header })).message, /a header is not valid/);
});

test("without leave, neither plain HTTP nor local networks", async () => {
  const strict = (url: string): Promise<HttpAnswer | HttpFailure> =>
    requestOutcall(work({ url }), { allowLocal: false, timeoutMs: 2_000 });
  const text = async (url: string): Promise<string> => {
    const result = await strict(url);
    return "message" in result ? result.message : "answered";
  };
  equal(await text(`http://127.0.0.1:${port}/`), "Url need to specify https scheme");
  for (const host of ["127.0.0.1", "localhost", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]"])
    equal(
      await text(`https://${host}:${port}/`),
      "Connecting failed: the host is on a local network",
    );
});

test("which addresses are local", () => {
  const local = ["0.0.0.0", "169.254.169.254", "192.168.1.1", "172.31.0.1", "fd00::1", "fe80::1"];
  for (const address of local) equal(isLocalAddress(address), true, address);
  for (const address of ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888", "example.com"])
    equal(isLocalAddress(address), false, address);
});
