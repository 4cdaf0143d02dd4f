// Goal: every part of a receipt's evidence matters, and a lie of the whole network is found by running
// the job again. Method: a network made up here, with its key; one part changed at a time.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeWith } from "gyrotron/base";
import { blsPublicKeyDer, blsSecretKeyFromUniform, sha256, signBls } from "gyrotron/crypto";
import {
  appendLeaf,
  encodeJobResult,
  type Job,
  jobHash,
  type JobResult,
  jobResultHash,
  type MountainRange,
  proveLeaf,
  rangeNodeKey,
  rangeRoot,
  type Receipt,
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
import { checkEvidence, checkRerun } from "./receipt-check.ts";
import { decodeEvidence, encodeEvidence, type ReceiptEvidence } from "./receipt-evidence.ts";

const SECRET = blsSecretKeyFromUniform(new Uint8Array(48).fill(3));
const ROOT_KEY = blsPublicKeyDer(SECRET);
const RECEIPTS = 11;
const JOB: Job = {
  modelHash: sha256(Uint8Array.of(1)),
  messages: [{ role: "user", content: "once" }],
  outputTokensMax: 9,
  sampling: { temperature: 0, topK: 0, topP: 65_536, seed: 7n },
};
const TRUTH: JobResult = {
  kind: "completed",
  text: "upon a time",
  promptTokens: 2,
  outputTokens: 3,
  finish: "stop",
  logitsDigest: sha256(Uint8Array.of(2)),
};

suite("evidence of a receipt", () => {
  test("what the network certified holds, wherever the receipt stands", () => {
    for (let leaf = 0; leaf < RECEIPTS; leaf++) {
      const evidence = evidenceOf(receiptOf(TRUTH), leaf);
      assert.deepEqual(wrongOf(evidence), []);
      const [decoded] = decodeEvidence(encodeEvidence([evidence]));
      assert.deepEqual(decoded, evidence);
    }
  });

  const lie = receiptOf({ ...TRUTH, text: "upon a tide" });
  const good = evidenceOf(receiptOf(TRUTH), 4);
  const changes: [string, Partial<ReceiptEvidence>, string[]][] = [
    [
      "another text in the receipt",
      { receipt: encodeWith(receiptCodec, { ...receiptOf(TRUTH), result: lie.result }) },
      ["result hash", "proof in the range of receipts"],
    ],
    [
      "another text and its hash in the receipt",
      { receipt: encodeWith(receiptCodec, lie) },
      ["proof in the range of receipts"],
    ],
    [
      "another job in the receipt",
      {
        receipt: encodeWith(
          receiptCodec,
          receiptOf(TRUTH, { job: { ...JOB, outputTokensMax: 8 } }),
        ),
      },
      ["job hash", "proof in the range of receipts"],
    ],
    [
      "a charge above the quote",
      { receipt: encodeWith(receiptCodec, receiptOf(TRUTH, { charged: 101n })) },
      ["charge within quote", "proof in the range of receipts"],
    ],
    ["bytes that are no receipt", { receipt: good.receipt.slice(1) }, ["receipt"]],
    ["another place", { leafIndex: 5n }, ["proof in the range of receipts"]],
    ["a place outside", { leafIndex: 99n }, ["proof in the range of receipts"]],
    ["a sibling less", { siblings: good.siblings.slice(1) }, ["proof in the range of receipts"]],
    [
      "another sibling",
      { siblings: good.siblings.map(flipped) },
      ["proof in the range of receipts"],
    ],
    [
      "other peaks",
      { range: { ...good.range, peaks: good.range.peaks.map(flipped) } },
      ["proof in the range of receipts", "certified range"],
    ],
    [
      "a peak more",
      { range: { ...good.range, peaks: [...good.range.peaks, good.range.peaks[0]!] } },
      ["proof in the range of receipts", "certified range"],
    ],
    [
      "an older certificate",
      { certificate: certificateOf(rangeRoot({ leafCount: 1n, peaks: [sha256()] })) },
      ["certified range"],
    ],
    [
      "a certificate of another key",
      {
        certificate: certificateOf(
          rangeRoot(good.range),
          blsSecretKeyFromUniform(new Uint8Array(48).fill(4)),
        ),
      },
      ["certificate"],
    ],
    [
      "a certificate of another canister",
      { certificate: certificateOf(rangeRoot(good.range), SECRET, Uint8Array.of(1, 1)) },
      ["certified range"],
    ],
    ["bytes that are no certificate", { certificate: Uint8Array.of(0xf6) }, ["certificate"]],
  ];
  for (const [what, change, expected] of changes) {
    test(`${what}: found`, () => assert.deepEqual(wrongOf({ ...good, ...change }), expected));
  }

  test("another receipt than was asked for: found", () => {
    const trust = { rootKeyDer: ROOT_KEY, expectedHash: receiptHash(lie) };
    const wrong = checkEvidence(good, trust).checks.filter(({ isOk }) => !isOk);
    assert.deepEqual(
      wrong.map(({ name }) => name),
      ["receipt hash"],
    );
  });

  test("a result that the whole network made up: found by running the job again", () => {
    assert.deepEqual(wrongOf(evidenceOf(lie, 4)), []);
    assert.deepEqual(rerunWrong(lie), ["rerun: text", "rerun: result hash"]);
    const logits = receiptOf({ ...TRUTH, logitsDigest: sha256() });
    assert.deepEqual(rerunWrong(logits), ["rerun: digest of all logits", "rerun: result hash"]);
    assert.deepEqual(rerunWrong(receiptOf(TRUTH)), []);
    const failed = receiptOf({ kind: "failed", reason: "promptTooLong", detail: "9" });
    assert.equal(rerunWrong(failed).length, 3);
  });
});

function rerunWrong(receipt: Receipt): string[] {
  const checks = checkRerun(receipt, encodeJobResult(TRUTH));
  return checks.filter(({ isOk }) => !isOk).map(({ name }) => name);
}

function wrongOf(evidence: ReceiptEvidence): string[] {
  const { checks } = checkEvidence(evidence, { rootKeyDer: ROOT_KEY });
  return checks.filter(({ isOk }) => !isOk).map(({ name }) => name);
}

function receiptOf(result: JobResult, changes: Partial<Receipt> = {}): Receipt {
  const encoded = encodeJobResult(result);
  return {
    job: JOB,
    jobHash: jobHash(JOB),
    resultHash: jobResultHash(encoded),
    result: encoded,
    caller: Uint8Array.of(1, 2, 3),
    quoteMaximum: 100n,
    charged: 60n,
    timeNs: 1n,
    ...changes,
  };
}

/** A receipt as the `leaf`-th of a range, certified. */
function evidenceOf(receipt: Receipt, leaf: number): ReceiptEvidence {
  let range: MountainRange = { leafCount: 0n, peaks: [] };
  const stored = new Map<string, Uint8Array>();
  for (let i = 0; i < RECEIPTS; i++) {
    const hash = i === leaf ? receiptHash(receipt) : sha256(Uint8Array.of(i));
    const appended = appendLeaf(range, hash);
    ({ range } = appended);
    for (const node of appended.nodes) {
      stored.set(rangeNodeKey(node.level, node.index).toHex(), node.hash);
    }
  }
  const proof = proveLeaf(range.leafCount, BigInt(leaf), (level, index) =>
    stored.get(rangeNodeKey(level, index).toHex())!,
  );
  const certificate = certificateOf(rangeRoot(range));
  return { receipt: encodeWith(receiptCodec, receipt), ...proof, range, certificate };
}

function certificateOf(
  certifiedData: Uint8Array,
  secret = SECRET,
  canisterId = LLM_CANISTER_ID,
): Uint8Array {
  const path = treePath("canister", canisterId, "certified_data");
  const canisters = path.reduceRight<HashTree>(
    (tree, label) => [2, label, tree],
    [3, certifiedData],
  );
  const time: HashTree = [2, treePath("time")[0]!, [3, Uint8Array.of(1)]];
  const tree: HashTree = [1, canisters, time];
  return encodeCertificate(tree, signBls(secret, certificateMessage(hashOfTree(tree))));
}

function flipped(hash: Uint8Array): Uint8Array {
  return hash.with(0, hash[0]! ^ 1);
}
