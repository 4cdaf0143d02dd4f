// A language model as a user meets it: asked on a node, run without one, its receipts verified by a
// stranger, and every mistake in one line. Damaged evidence in detail: src/cli/receipt-check.test.ts.

import assert from "node:assert/strict";
import { copyFileSync, cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { decodeWith, encodeWith } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  type CborMap,
  decodeCbor,
  encodeSelfDescribedCbor,
  signBls,
} from "gyrotron/crypto";
import {
  appendLeaf,
  decodeJobResult,
  encodeJobResult,
  jobResultHash,
  rangeRoot,
  receiptCodec,
  receiptHash,
} from "gyrotron/job";
import {
  certificateMessage,
  encodeCertificate,
  type HashTree,
  hashOfTree,
  LLM_CANISTER_ID,
  treePath,
} from "gyrotron/replica";
import {
  type CommandResult,
  runCli,
  type RunningNode,
  startNode,
  temporaryFolder,
} from "./running-node.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const STORYTELLER = join(ROOT, "examples/storyteller/main.mo");
const MODEL = join(ROOT, "models/storyteller");
const folder = temporaryFolder();
const data = join(folder, "data");
const saved = join(folder, "receipt.cbor");
let node: RunningNode;
let flags: string[];
let receipt = "";

before(async () => {
  node = await startNode(data);
  flags = ["--port", String(node.port), "--data", data];
});

after(() => node.stop());

test("chat without a storyteller says how to get one", async () => {
  const result = await runCli(["chat", "hello", ...flags]);
  assertFailure(
    result,
    /^no canister storyteller is on the node at .*: deploy it with `gyrotron deploy /,
  );
});

test("chat shows the answer, compares, and checks certificate and receipt", async () => {
  const deployed = await runCli(["deploy", STORYTELLER, ...flags]);
  assert.equal(deployed.status, 0, deployed.stderr);
  const { status, stdout, stderr } = await runCli([
    "chat",
    "Once upon a time",
    "--save",
    saved,
    ...flags,
  ]);
  assert.equal(status, 0, stderr);
  assert.ok(stdout.startsWith("Once upon a time\n\n"));
  assert.match(stdout, /^reply +(equal to|begins as) the preview/m);
  assert.match(stdout, /^certificate verified by @icp-sdk\/core \(\d+ bytes\)$/m);
  assert.match(stdout, /^tokens +\d+ prompt, \d+ output/m);
  const [, charged, quoted] = /^cycles +([\d_]+) charged of ([\d_]+) quoted$/m.exec(stdout) ?? [];
  assert.ok(numberOf(charged) > 0n && numberOf(charged) <= numberOf(quoted));
  const found = /^receipt +([0-9a-f]{64}) {2}proof and certificate verified$/m.exec(stdout);
  [, receipt = ""] = found ?? [];
  assert.notEqual(receipt, "");
});

test("a stranger verifies the receipt from the node and from a file", async () => {
  const rootKey = await rootKeyOf(node.url);
  for (const args of [
    [receipt, "--node", node.url, "--threads", "2"],
    [saved, "--root-key", rootKey],
    [receipt, "--file", saved, "--root-key", rootKey],
  ]) {
    const { status, stdout, stderr } = await runCli(["verify", ...args]);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^ok +rerun: digest of all logits: [0-9a-f]{64}$/m);
    assert.match(stdout, /^verified: /m);
  }
});

test("verify names what is wrong: a changed receipt, another key, another model", async () => {
  const rootKey = await rootKeyOf(node.url);
  const changed = join(folder, "changed.cbor");
  const bytes = readFileSync(saved);
  // The text of the answer stands in the receipt as it is.
  const at = bytes.indexOf(utf8OfAnswer());
  assert.ok(at > 0);
  bytes[at]! ^= 1;
  writeFileSync(changed, bytes);
  const tampered = await runCli(["verify", changed, "--root-key", rootKey]);
  assert.equal(tampered.status, 1);
  assert.match(
    tampered.stdout,
    /^not verified: result hash, proof in the range of receipts, rerun/m,
  );

  const otherKey = await runCli(["verify", saved, "--root-key", `${rootKey.slice(0, -2)}00`]);
  assert.equal(otherKey.status, 1);
  assert.match(otherKey.stdout, /^not verified: certificate$/m);

  const otherModel = join(folder, "other");
  cpSync(MODEL, otherModel, { recursive: true });
  const weights = readFileSync(join(otherModel, "model.safetensors"));
  weights[weights.length - 1]! ^= 2;
  writeFileSync(join(otherModel, "model.safetensors"), weights);
  const model = await runCli(["verify", saved, "--root-key", rootKey, "--model", otherModel]);
  assert.equal(model.status, 1);
  assert.match(model.stdout, /^not verified: rerun: model$/m);
});

test("verify finds out a network that certifies what the model did not say", async () => {
  const lying = join(folder, "lying.cbor");
  const rootKey = writeLie(lying);
  const result = await runCli(["verify", lying, "--root-key", rootKey]);
  assert.equal(result.status, 1);
  assert.match(result.stdout, /^ok +certificate: /m);
  assert.match(result.stdout, /^not verified: rerun: text, rerun: result hash$/m);
});

test("run gives the same logits for any number of threads, and other logits for other seeds", async () => {
  const run = async (...args: string[]): Promise<Record<string, unknown>> => {
    const command = ["run", "storyteller", "The king", "--max-tokens", "8", "--json", ...args];
    const { status, stdout, stderr } = await runCli(command);
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const [one, two, other] = await Promise.all([
    run(),
    run("--threads", "2"),
    run("--temperature", "4", "--seed", "9"),
  ]);
  const bits = ({ text, tokens, logitsDigest }: Record<string, unknown>): unknown => [
    text,
    tokens,
    logitsDigest,
  ];
  assert.deepEqual(bits(one), bits(two));
  assert.notDeepEqual(bits(one), bits(other));
  assert.ok(Number(one["decodeTokensPerSecond"]) > 0 && Number(one["prefillTokensPerSecond"]) > 0);
});

test("run streams for people", async () => {
  const { status, stdout } = await runCli(["run", MODEL, "The king", "--max-tokens", "8"]);
  assert.equal(status, 0);
  assert.match(stdout, /^The king\n\n[^]+\n\nmodel +storyteller [0-9a-f]{64}\n/);
  assert.match(stdout, /^logits +[0-9a-f]{64}$/m);
});

test("conform finds the published bits", async () => {
  const { status, stdout } = await runCli(["conform", "--json", "--threads", "2"]);
  assert.equal(status, 0, stdout);
  const report = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([report["mismatches"], report["conforms"]], [[], true]);
  assert.equal(report["digest"], report["publishedDigest"]);
});

test("mistakes get one line", async () => {
  const damaged = join(folder, "damaged");
  cpSync(MODEL, damaged, { recursive: true });
  truncateSync(join(damaged, "tokenizer.bin"), 2000);
  const cut = join(folder, "cut.bin");
  copyFileSync(join(MODEL, "tokenizer.bin"), join(folder, "tokenizer.bin"));
  writeFileSync(cut, new Uint8Array(Int32Array.of(8, 8, 1, 2, 2, 300, 16).buffer));
  const notes = join(folder, "notes.txt");
  writeFileSync(notes, "no receipt");
  const long = "word ".repeat(600);
  const cases: [string[], RegExp][] = [
    [
      ["run", "gpt-9", "x"],
      /^there is no model `gpt-9`: name a .gguf file, a folder, .* storyteller$/,
    ],
    [["run", "storyteller"], /^a model and a prompt are needed: use `gyrotron run/],
    [
      ["run", "storyteller", "x", "--seed", "-1"],
      /^--seed takes 0 to 18446744073709551615, not -1/,
    ],
    [
      ["run", "storyteller", "x", "--temperature", "17"],
      /^--temperature takes 0 to 16, not 17: use/,
    ],
    [
      ["run", "storyteller", "x", "--precision", "f16"],
      /^--precision takes w8a8, w8a14, w14a14, not f16/,
    ],
    [["run", "storyteller", "x", "--context", "65537"], /^--context takes 2 to 65536, not 65537/],
    [
      ["run", "storyteller", "x", "--context", "513"],
      /^cannot use the model .*storyteller: positions of the context: 513, the limit is 512$/,
    ],
    [["run", "storyteller", long, "--context", "100"], /: \d+ tokens, at most 99 fit$/],
    [["run", "storyteller", long], /^the prompt is too long: \d+ tokens, at most 511 fit$/],
    [["run", damaged, "x"], /^cannot use the model .*tokenizer\.bin: .* \(at byte \d+\)$/],
    [["run", cut, "x"], /^cannot use the model .*cut\.bin: \d+ bytes expected \(at byte 28\)$/],
    [["conform", "--backend", "tpu"], /^--backend takes .*, not tpu: use/],
    [["verify", "12ab"], /^12ab is neither a receipt's hash \(64 hex digits\) nor a file: use/],
    [["verify", notes, "--root-key", "00"], /notes\.txt: it is not a receipt: .* at byte \d+$/],
    [
      ["verify", "0".repeat(64), "--port", "1"],
      /^no node answers at http:\/\/127\.0\.0\.1:1: start/,
    ],
    [
      ["verify", "0".repeat(64), "--node", node.url],
      /^the node refused the request \(HTTP 404\): /,
    ],
    [["chat"], /^a text is needed: use `gyrotron chat/],
  ];
  const results = [];
  for (const [args, problem] of cases) results.push([await runCli(args, folder), problem] as const);
  for (const [result, problem] of results) assertFailure(result, problem);
});

function assertFailure(result: CommandResult, problem: RegExp): void {
  assert.equal(result.status, 1, result.stdout);
  const [line, ...more] = result.stderr.trimEnd().split("\n");
  assert.match(line ?? "", problem);
  assert.deepEqual(more, []);
}

function savedReceipt(): CborMap {
  const answer = decodeCbor(new Uint8Array(readFileSync(saved)));
  assert.ok(answer instanceof Map);
  const receipts = answer.get("receipts");
  assert.ok(Array.isArray(receipts) && receipts[0] instanceof Map);
  return receipts[0];
}

function utf8OfAnswer(): string {
  const { result } = decodeWith(receiptCodec, savedReceipt().get("receipt") as Uint8Array);
  const decoded = decodeJobResult(result);
  assert.ok(decoded.kind === "completed");
  return decoded.text;
}

/** The saved receipt with another text, as a network of its own would certify it; gives its root key. */
function writeLie(file: string): string {
  const honest = decodeWith(receiptCodec, savedReceipt().get("receipt") as Uint8Array);
  const told = decodeJobResult(honest.result);
  assert.ok(told.kind === "completed");
  const result = encodeJobResult({ ...told, text: `${told.text}!` });
  const lie = { ...honest, result, resultHash: jobResultHash(result) };
  const { range } = appendLeaf({ leafCount: 0n, peaks: [] }, receiptHash(lie));
  const secret = blsSecretKeyFromUniform(new Uint8Array(48).fill(9));
  const tree = treePath("canister", LLM_CANISTER_ID, "certified_data").reduceRight<HashTree>(
    (below, label) => [2, label, below],
    [3, rangeRoot(range)],
  );
  const certificate = encodeCertificate(
    tree,
    signBls(secret, certificateMessage(hashOfTree(tree))),
  );
  const evidence = {
    receipt: encodeWith(receiptCodec, lie),
    leaf_index: 0n,
    siblings: [],
    leaf_count: 1n,
    peaks: range.peaks,
    certificate,
  };
  writeFileSync(file, encodeSelfDescribedCbor({ receipts: [evidence] }));
  return blsPublicKeyDer(secret).toHex();
}

async function rootKeyOf(url: string): Promise<string> {
  const response = await fetch(`${url}/api/v2/status`);
  const status = decodeCbor(new Uint8Array(await response.arrayBuffer()));
  assert.ok(status instanceof Map);
  return (status.get("root_key") as Uint8Array).toHex();
}

function numberOf(digits = ""): bigint {
  return BigInt(digits.replaceAll("_", ""));
}
