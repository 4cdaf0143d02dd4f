// Goal: a GPU job is answered once, with the result that more than two thirds of the nodes attest,
// charged by the formula and never above the quote; everything else is a reject that costs nothing
// beyond the call. Method: nodes are key pairs here, results are made up: no model runs.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeWith } from "gyrotron/base";
import { decodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import {
  ed25519PublicKeyDer,
  selfAuthenticating,
  sha256,
  signEd25519,
  formatPrincipal,
} from "gyrotron/crypto";
import {
  encodeJobResult,
  type JobResult,
  jobResultHash,
  mountainRangeCodec,
  proveLeaf,
  receiptCodec,
  receiptHash,
  verifyLeaf,
  macsOf,
} from "gyrotron/job";
import {
  encodeResultMessage,
  encodeSignedStatement,
  type IngressStatus,
  jobNumberOfKey,
  KEY_PREFIX,
  type NodeStatement,
  receiptsKey,
} from "gyrotron/replica";
import { ONLY_ID } from "./harness.ts";
import { asker, JobNetwork, MODEL } from "./job-network.ts";

const DIGEST = new Uint8Array(32);
const completed = (text: string, promptTokens = 5, outputTokens = 7): JobResult => ({
  kind: "completed",
  text,
  promptTokens,
  outputTokens,
  finish: "stop",
  logitsDigest: DIGEST,
});
const textOf = (status: IngressStatus): string => {
  ok(
    status.kind === "replied",
    `expected a reply, got ${status.kind} ${"message" in status ? status.message : ""}`,
  );
  return decodeCandid([IDL.Text], status.reply)[0] as string;
};
const rejectionOf = (status: IngressStatus): string => {
  ok(status.kind === "rejected", `expected a reject, got ${status.kind}`);
  return status.message;
};

suite("jobs", () => {
  test("a result that the nodes agree on is the answer, paid by the formula from what was attached", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = network.install(asker(50_000_000_000_000n), new Uint8Array(), 10n ** 15n);
    const before = network.cyclesTotal();
    const envelope = network.ask(id, "Once upon a time");
    equal(network.status(envelope).kind, "processing");
    const [job] = network.pending();
    ok(job !== undefined);
    const result = completed(" there was a fox.");
    network.settle(
      network.attests(0, job.number, result),
      encodeResultMessage(job.number, encodeJobResult(result)),
    );
    equal(textOf(network.status(envelope)), " there was a fox.");
    deepEqual(network.pending(), []);
    const price = 10_000_000n + (1_000_000n * macsOf(MODEL, 5, 7)) / 1_000_000_000n;
    equal(network.canister(id).consumed.gpu, price);
    ok(price <= job.quoteMaximum);
    equal(network.cyclesTotal(), before);
    equal(network.canister(id).pendingJobs, 0);
  });

  test("without attached cycles the caller's own balance pays", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = network.install(asker(0n));
    const before = network.cyclesTotal();
    const envelope = network.ask(id, "Hello");
    const [job] = network.pending();
    const result = completed("Hi");
    network.settle(
      network.attests(0, job!.number, result),
      encodeResultMessage(job!.number, encodeJobResult(result)),
    );
    equal(textOf(network.status(envelope)), "Hi");
    equal(network.cyclesTotal(), before);
  });

  test("one liar of four is outvoted and named; two keep the job open until its deadline", () => {
    const network = new JobNetwork(4);
    network.register();
    const id = network.install(asker(0n));
    const envelope = network.ask(id, "Hello");
    const [job] = network.pending();
    const [honest, lie] = [completed("true"), completed("false")];
    const bytes = (result: JobResult): Uint8Array =>
      encodeResultMessage(job!.number, encodeJobResult(result));
    network.settle(network.attests(0, job!.number, lie), bytes(lie));
    network.settle(
      network.attests(1, job!.number, honest),
      network.attests(2, job!.number, honest),
      bytes(honest),
    );
    equal(network.status(envelope).kind, "processing", "two of four are no quorum");
    network.settle(network.attests(0, job!.number, honest), bytes(honest));
    equal(network.status(envelope).kind, "processing", "a node speaks once");
    network.settle(network.attests(3, job!.number, honest), bytes(lie));
    equal(network.status(envelope).kind, "processing", "bytes must match the agreed hash");
    network.settle(bytes(honest));
    equal(textOf(network.status(envelope)), "true");
    const liar = formatPrincipal(selfAuthenticating(ed25519PublicKeyDer(network.seeds[0]!)));
    ok(network.console.some(({ text }) => text.includes(liar) && text.includes("another result")));
  });

  test("no agreement by the deadline: a reject and a full refund", () => {
    const network = new JobNetwork(4);
    network.register();
    const id = network.install(asker(0n));
    const before = network.cyclesTotal();
    const envelope = network.ask(id, "Hello");
    const [job] = network.pending();
    network.settle(
      network.attests(0, job!.number, completed("a")),
      network.attests(1, job!.number, completed("b")),
    );
    network.timeNs = job!.deadlineNs;
    network.settle();
    match(rejectionOf(network.status(envelope)), /not completed before its deadline/);
    equal(network.cyclesTotal(), before);
    equal(network.canister(id).consumed.gpu, 0n);
    network.settle(
      network.attests(2, job!.number, completed("a")),
      network.attests(3, job!.number, completed("a")),
    );
    deepEqual(network.pending(), []);
  });

  test("results are delivered once, and unsigned or foreign statements count for nothing", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = network.install(asker(0n));
    const envelope = network.ask(id, "Hello");
    const [job] = network.pending();
    const result = completed("Hi");
    const stranger = new Uint8Array(32).fill(99);
    const statement: NodeStatement = {
      kind: "attest",
      job: job!.number,
      resultHash: jobResultHash(encodeJobResult(result)),
    };
    const foreign = encodeSignedStatement(statement, ed25519PublicKeyDer(stranger), (m) =>
      signEd25519(stranger, m),
    );
    const forged = encodeSignedStatement(statement, ed25519PublicKeyDer(network.seeds[0]!), (m) =>
      signEd25519(stranger, m),
    );
    const bytes = encodeResultMessage(job!.number, encodeJobResult(result));
    network.settle(foreign, forged, bytes);
    equal(network.status(envelope).kind, "processing");
    const attestation = network.attests(0, job!.number, result);
    network.settle(attestation, bytes, attestation, bytes);
    network.settle(attestation, bytes);
    equal(textOf(network.status(envelope)), "Hi");
    equal(network.receipts.length, 1);
  });
});

suite("jobs that are refused cost nothing beyond the call", () => {
  const refused = (
    network: JobNetwork,
    id: Uint8Array,
    envelope: Uint8Array,
    pattern: RegExp,
  ): void => {
    match(rejectionOf(network.status(envelope)), pattern);
    equal(network.canister(id).consumed.gpu, 0n);
    deepEqual(network.pending(), []);
  };

  test("unknown model, empty and long prompts, no cycles", () => {
    const network = new JobNetwork(1);
    const id = network.install(asker(0n));
    refused(
      network,
      id,
      network.ask(id, "Hello"),
      /Model 'tiny' is not available. No model is registered yet/,
    );
    network.register();
    refused(
      network,
      id,
      network.ask(id, "Hello", "huge"),
      /Model 'huge' is not available. Available models: tiny/,
    );
    refused(network, id, network.ask(id, "x".repeat(10_241)), /10241 bytes, at most 10240/);
    const poor = network.install(asker(0n), new Uint8Array(), 1_200_000_000_000n);
    network.register({ ...MODEL, macsPerToken: 10n ** 18n });
    refused(
      network,
      poor,
      network.ask(poor, "Hello"),
      /IC0207: The job needs up to \d+ cycles: attach them or top up/,
    );
  });

  test("a prompt that the accelerators find too long", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = network.install(asker(0n));
    const envelope = network.ask(id, "Hello");
    const [job] = network.pending();
    const result: JobResult = {
      kind: "failed",
      reason: "promptTooLong",
      detail: "300 tokens, 200 fit",
    };
    network.settle(
      network.attests(0, job!.number, result),
      encodeResultMessage(job!.number, encodeJobResult(result)),
    );
    refused(network, id, envelope, /prompt is too long for model 'tiny': 300 tokens, 200 fit/);
  });

  test("the queue of one canister is bounded, and others still get in", () => {
    const network = new JobNetwork(1);
    network.register();
    const [greedy, modest] = [network.install(asker(0n)), network.install(asker(0n))];
    const envelopes = Array.from({ length: 21 }, () => network.ask(greedy, "Hello"));
    equal(network.pending().length, 20);
    match(rejectionOf(network.status(envelopes[20]!)), /IC0201: The job queue is full/);
    equal(network.status(network.ask(modest, "Hello")).kind, "processing");
  });
});

test("a caller that is uninstalled meanwhile gets its cycles back and leaves nothing behind", () => {
  const network = new JobNetwork(1);
  network.register();
  const id = network.install(asker(0n));
  const before = network.cyclesTotal();
  const envelope = network.ask(id, "Hello");
  const [job] = network.pending();
  network.manage("uninstall_code", ONLY_ID, { canister_id: toIdlPrincipal(id) });
  match(rejectionOf(network.status(envelope)), /Canister has been uninstalled/);
  const result = completed("Hi");
  network.settle(
    network.attests(0, job!.number, result),
    encodeResultMessage(job!.number, encodeJobResult(result)),
  );
  deepEqual(network.pending(), []);
  equal(network.canister(id).openContexts, 0);
  equal(network.cyclesTotal(), before);
});

test("agreed bytes that are no result fail the job, not the network", () => {
  const network = new JobNetwork(1);
  network.register();
  const id = network.install(asker(0n));
  const envelope = network.ask(id, "Hello");
  const [job] = network.pending();
  const bytes = Uint8Array.of(9, 9, 9);
  const attestation = network.says(0, {
    kind: "attest",
    job: job!.number,
    resultHash: jobResultHash(bytes),
  });
  network.settle(attestation, encodeResultMessage(job!.number, bytes));
  match(rejectionOf(network.status(envelope)), /the result does not decode/);
  equal(network.canister(id).consumed.gpu, 0n);
});

test("receipts can be proved from the peaks in state", () => {
  const network = new JobNetwork(1);
  network.register();
  const id = network.install(asker(0n));
  const nodes = new Map<string, Uint8Array>();
  for (let i = 0; i < 11; i++) {
    network.ask(id, `Prompt ${i}`);
    const [job] = network.pending();
    const result = completed(`Answer ${i}`);
    network.settle(
      network.attests(0, job!.number, result),
      encodeResultMessage(job!.number, encodeJobResult(result)),
    );
  }
  for (const { nodes: made } of network.receipts)
    for (const { level, index, hash } of made) nodes.set(`${level}/${index}`, hash);
  const range = decodeWith(mountainRangeCodec, network.view.get(receiptsKey)!);
  equal(range.leafCount, 11n);
  equal(range.peaks.length, 3);
  for (const { receipt, leafIndex } of network.receipts) {
    const leaf = receiptHash(decodeWith(receiptCodec, receipt));
    const proof = proveLeaf(range.leafCount, leafIndex, (level, index) =>
      nodes.get(`${level}/${index}`)!,
    );
    ok(verifyLeaf(range, leaf, proof));
    ok(!verifyLeaf(range, sha256(leaf), proof));
    ok(!verifyLeaf(range, leaf, { ...proof, leafIndex: (leafIndex + 1n) % 11n }));
  }
});

test("a job's number is read back from its key", () => {
  const network = new JobNetwork(1);
  network.register();
  network.ask(network.install(asker(0n)), "Hello");
  const [key] = [...network.view.range(KEY_PREFIX.job)].map(([key]) => key);
  equal(jobNumberOfKey(key!), network.pending()[0]!.number);
});
