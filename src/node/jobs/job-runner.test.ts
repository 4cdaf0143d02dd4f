// Goal: the runner attests each pending job once, hands in agreed bytes, lets callers take turns,
// abstains where it must and survives a full mempool. Method: a made-up accelerator and mempool.

import { deepEqual, equal } from "node:assert/strict";
import { suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { utf8Bytes } from "gyrotron/base";
import { ed25519PublicKeyDer, sha256, signEd25519 } from "gyrotron/crypto";
import { jobResultHash, type ModelRecord } from "gyrotron/job";
import type { PendingJob } from "gyrotron/replica";
import { JobRunner, type JobRunnerHost } from "./job-runner.ts";

const SEED = new Uint8Array(32).fill(7);
const MODEL: ModelRecord = {
  name: "tiny",
  hash: sha256(Uint8Array.of(1)),
  contextTokensMax: 10,
  macsPerToken: 1n,
  macsPerPosition: 1n,
  frameTokensMax: 1,
  messageTokensMax: 0,
};

function pending(
  number: bigint,
  caller: number,
  agreed?: Uint8Array,
  modelHash = MODEL.hash,
): PendingJob {
  return {
    number,
    job: {
      modelHash,
      messages: [{ role: "user", content: `job ${number}` }],
      outputTokensMax: 5,
      sampling: { temperature: 0, topK: 0, topP: 65_536, seed: 1n },
    },
    origin: { kind: "canister", canisterId: Uint8Array.of(caller), callback: 0n },
    interface: "v0_chat",
    modelName: "tiny",
    requestId: undefined,
    quoteMaximum: 1n,
    reservedAttached: 0n,
    reservedBalance: 1n,
    refund: 0n,
    deadlineNs: 1n,
    attestations: [],
    agreed,
  };
}

/** A runner with what it did. */
function setUp(options: { room?: () => boolean; fails?: boolean } = {}): {
  runner: JobRunner;
  ran: string[];
  submitted: Uint8Array[];
  failures: bigint[];
  previews: string[];
} {
  const ran: string[] = [];
  const submitted: Uint8Array[] = [];
  const failures: bigint[] = [];
  const previews: string[] = [];
  const host: JobRunnerHost = {
    accelerator: {
      models: [MODEL],
      device: "made up",
      async run(job, onText) {
        await turn();
        const [message] = job.messages;
        ran.push(message!.content);
        if (options.fails === true) throw new Error("device lost");
        onText("par");
        return utf8Bytes(`result of ${message!.content}`);
      },
      async close() {},
    },
    publicKeyDer: ed25519PublicKeyDer(SEED),
    sign: (message) => signEd25519(SEED, message),
    submit({ bytes }) {
      if (options.room?.() === false) return "full";
      submitted.push(bytes);
      return "accepted";
    },
    onPreview: (_job, text) => previews.push(text),
    onFailure: (job) => failures.push(job.number),
  };
  return { runner: new JobRunner(host), ran, submitted, failures, previews };
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await turn();
};
const hashOf = (number: bigint): Uint8Array => jobResultHash(utf8Bytes(`result of job ${number}`));

suite("job runner", () => {
  test("attests once, then hands in the bytes that were agreed on", async () => {
    const { runner, ran, submitted, previews } = setUp();
    runner.update([{ number: 1n, job: pending(1n, 1) }]);
    await settled();
    runner.update([{ number: 1n, job: pending(1n, 1) }]);
    await settled();
    deepEqual([ran, submitted.length, previews], [["job 1"], 1, ["par"]]);
    runner.update([{ number: 1n, job: pending(1n, 1, sha256(Uint8Array.of(9))) }]);
    equal(submitted.length, 1, "others agreed on something else: nothing to hand in");
    runner.update([{ number: 1n, job: pending(1n, 1, hashOf(1n)) }]);
    equal(submitted.length, 2);
  });

  test("a restarted node runs again what was agreed on but not handed in", async () => {
    const { runner, submitted } = setUp();
    runner.update([{ number: 4n, job: pending(4n, 1, hashOf(4n)) }]);
    await settled();
    equal(submitted.length, 2, "attestation and bytes");
  });

  test("callers take turns", async () => {
    const { runner, ran } = setUp();
    const jobs = [pending(1n, 1), pending(2n, 1), pending(3n, 1), pending(4n, 2), pending(5n, 3)];
    runner.update(jobs.map((job) => ({ number: job.number, job })));
    await settled();
    deepEqual(ran, ["job 1", "job 4", "job 5", "job 2", "job 3"]);
  });

  test("settled jobs are not run, jobs of unknown models neither, failures abstain", async () => {
    const { runner, ran, submitted } = setUp();
    runner.update([
      { number: 1n, job: pending(1n, 1) },
      { number: 2n, job: pending(2n, 1) },
      { number: 3n, job: pending(3n, 1, undefined, sha256(Uint8Array.of(2))) },
    ]);
    runner.update([{ number: 2n, job: undefined }]);
    await settled();
    deepEqual([ran, submitted.length], [["job 1"], 1]);
    const failing = setUp({ fails: true });
    failing.runner.update([{ number: 1n, job: pending(1n, 1) }]);
    await settled();
    deepEqual([failing.failures, failing.submitted.length], [[1n], 0]);
  });

  test("what the mempool has no room for is handed in after a later block", async () => {
    let room = false;
    const { runner, submitted } = setUp({ room: () => room });
    runner.announceModels();
    equal(submitted.length, 0);
    room = true;
    runner.update([]);
    equal(submitted.length, 1);
  });
});
