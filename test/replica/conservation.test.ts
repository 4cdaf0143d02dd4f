// Goal: cycles are neither made nor lost, whatever happens to canisters, calls, jobs and outcalls.
// Method: random histories; after each step, what canisters hold and have consumed, what jobs and
// tasks hold and what left with deleted canisters add up to what was put in.

import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, decodeWith } from "gyrotron/base";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { ed25519PublicKeyDer, signEd25519 } from "gyrotron/crypto";
import type { JobResult } from "gyrotron/job";
import {
  canisterKey,
  encodeTaskAttestation,
  encodeTaskResult,
  KEY_PREFIX,
  type OutsideTask,
  outsideTaskCodec,
  taskResultHash,
} from "gyrotron/replica";
import { ONLY_ID } from "./harness.ts";
import { asker, JobNetwork } from "./job-network.ts";
import { forwardArgument, PROXY } from "./proxy.ts";

const CYCLES = 20_000_000_000_000n;
const MODULES = [asker(0n), asker(60_000_000n), asker(5_000_000_000n), PROXY];
const blob = IDL.Vec(IDL.Nat8);
const TAKE = IDL.Record({ canister_id: IDL.Principal, replace_snapshot: IDL.Opt(blob) });
const LOAD = IDL.Record({ canister_id: IDL.Principal, snapshot_id: blob });
const OUTCALL = encodeCandid(
  [
    IDL.Record({
      url: IDL.Text,
      max_response_bytes: IDL.Opt(IDL.Nat64),
      method: IDL.Variant({ get: IDL.Null }),
      headers: IDL.Vec(IDL.Record({ name: IDL.Text, value: IDL.Text })),
      body: IDL.Opt(blob),
    }),
  ],
  [
    {
      url: "https://a.org",
      max_response_bytes: [100n],
      method: { get: null },
      headers: [],
      body: [],
    },
  ],
);
const TOP_UP = IDL.Record({ canister_id: IDL.Principal, amount: IDL.Nat });

type Step =
  | { kind: "create"; module: number }
  | { kind: "ask"; canister: number; content: string; model: string }
  | { kind: "finish"; outcome: "answer" | "tooLong" | "late"; outputTokens: number }
  | { kind: "topUp"; canister: number; amount: bigint }
  | {
      kind: "manage";
      canister: number;
      method: "stop_canister" | "start_canister" | "uninstall_code" | "delete_canister";
    }
  | { kind: "install"; canister: number; module: number }
  | { kind: "snapshot"; canister: number; action: "take" | "replace" | "load" }
  | { kind: "outcall"; canister: number; cycles: bigint }
  | { kind: "settleOutcall"; outcome: "answer" | "late" };

const index = fc.nat({ max: 4 });
const module = fc.nat({ max: MODULES.length - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("create" as const), module }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("ask" as const),
      canister: index,
      content: fc.constantFrom("Hello", "", "x".repeat(11_000)),
      model: fc.constantFrom("tiny", "tiny", "none"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("finish" as const),
      outcome: fc.constantFrom(
        "answer" as const,
        "answer" as const,
        "tooLong" as const,
        "late" as const,
      ),
      outputTokens: fc.nat({ max: 10_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("topUp" as const),
      canister: index,
      amount: fc.bigInt(0n, CYCLES),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("manage" as const),
      canister: index,
      method: fc.constantFrom(
        "stop_canister" as const,
        "start_canister" as const,
        "uninstall_code" as const,
        "delete_canister" as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("install" as const), canister: index, module }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("snapshot" as const),
      canister: index,
      action: fc.constantFrom("take" as const, "replace" as const, "load" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("outcall" as const),
      canister: index,
      cycles: fc.bigInt(0n, 300_000_000n),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("settleOutcall" as const),
      outcome: fc.constantFrom("answer" as const, "late" as const),
    }),
  },
);

/** How often histories came to what they are about. */
const covered = { outcalls: 0, snapshots: 0 };

/** A history with its books. */
class Ledger {
  readonly network = new JobNetwork(1);
  readonly ids: Uint8Array[] = [];
  deposited = 0n;
  deleted = 0n;

  constructor() {
    this.network.register();
  }

  take(action: Step): void {
    const { network } = this;
    if (action.kind === "create") {
      this.ids.push(network.install(MODULES[action.module]!, new Uint8Array(), CYCLES));
      this.deposited += CYCLES;
      return;
    }
    if (action.kind === "finish") return this.#finish(action);
    if (action.kind === "settleOutcall") return this.#settleOutcall(action.outcome);
    const id = this.ids[action.canister % this.ids.length];
    if (id === undefined) return;
    if (action.kind === "ask") network.ask(id, action.content, action.model);
    else if (action.kind === "install")
      network.installOn(id, MODULES[action.module]!, { reinstall: null });
    else if (action.kind === "snapshot") this.#snapshot(id, action.action);
    else if (action.kind === "outcall") this.#outcall(this.ids[1] ?? id, action.cycles);
    else if (action.kind === "topUp") this.#topUp(id, action.amount);
    else this.#manage(id, action.method);
  }

  /** What the books say and what the state says. */
  balance(): { expected: bigint; found: bigint } {
    const reserved = this.network
      .pending()
      .reduce((sum, job) => sum + job.reservedAttached + job.reservedBalance + job.refund, 0n);
    return {
      expected: this.deposited,
      found: this.network.cyclesTotal() + reserved + this.#waiting() + this.deleted,
    };
  }

  #finish({ outcome, outputTokens }: Extract<Step, { kind: "finish" }>): void {
    const [job] = this.network.pending();
    if (job === undefined) return;
    if (outcome === "late") {
      this.network.timeNs = job.deadlineNs;
      return this.network.settle();
    }
    const result: JobResult =
      outcome === "answer"
        ? {
            kind: "completed",
            text: "words",
            promptTokens: 3,
            outputTokens,
            finish: "stop",
            logitsDigest: new Uint8Array(32),
          }
        : { kind: "failed", reason: "promptTooLong", detail: "too long" };
    this.network.settle(...this.network.delivers(job.number, result));
  }

  /** What returns with the answers of outside tasks. */
  #waiting(): bigint {
    return this.#tasks().reduce((sum, task) => sum + task.refund, 0n);
  }

  #tasks(): OutsideTask[] {
    return [...this.network.view.range(KEY_PREFIX.outsideTask)].map(([, bytes]) =>
      decodeWith(outsideTaskCodec, bytes),
    );
  }

  #outcall(id: Uint8Array, cycles: bigint): void {
    const argument = forwardArgument("http_request", OUTCALL, cycles);
    this.network.settle(this.network.envelope(id, "forward", argument));
  }

  #settleOutcall(outcome: "answer" | "late"): void {
    const [task] = this.#tasks();
    if (task === undefined) return;
    covered.outcalls++;
    if (outcome === "late") {
      this.network.timeNs = task.deadlineNs;
      return this.network.settle();
    }
    const result = Uint8Array.of(1, 0, 0, 0, 0, 0);
    const [seed] = this.network.seeds;
    const attestation = encodeTaskAttestation(
      task.number,
      taskResultHash(result),
      ed25519PublicKeyDer(seed!),
      (message) => signEd25519(seed!, message),
    );
    this.network.settle(attestation, encodeTaskResult(task.number, result));
  }

  #snapshot(id: Uint8Array, action: "take" | "replace" | "load"): void {
    const canister_id = toIdlPrincipal(id);
    // The first snapshot of a canister, if it has any.
    const snapshot_id = concatBytes(id, new Uint8Array(8));
    if (action === "load") {
      this.network.manage("load_canister_snapshot", LOAD, { canister_id, snapshot_id });
      return;
    }
    const replace_snapshot = action === "replace" ? [snapshot_id] : [];
    const taken = this.network.manage("take_canister_snapshot", TAKE, {
      canister_id,
      replace_snapshot,
    });
    if (taken.kind === "replied") covered.snapshots++;
  }

  #topUp(id: Uint8Array, amount: bigint): void {
    const argument = { canister_id: toIdlPrincipal(id), amount };
    const status = this.network.manage("provisional_top_up_canister", TOP_UP, argument);
    if (status.kind === "replied") this.deposited += amount;
  }

  #manage(id: Uint8Array, method: string): void {
    const before = this.network.view.get(canisterKey(id));
    const held = before === undefined ? 0n : this.network.worthOf(id);
    this.network.manage(method, ONLY_ID, { canister_id: toIdlPrincipal(id) });
    // The price of the deleting message was still taken from the balance: it is part of what left.
    if (before !== undefined && this.network.view.get(canisterKey(id)) === undefined)
      this.deleted += held;
  }
}

test("random histories conserve cycles", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (history) => {
      const ledger = new Ledger();
      const first = [0, 3].map((module) => ({ kind: "create", module }) as const);
      for (const action of [...first, ...history]) {
        ledger.take(action);
        const { expected, found } = ledger.balance();
        equal(found, expected, `after ${action.kind}`);
      }
    }),
    { numRuns: Number(process.env["GYROTRON_PROPERTY_RUNS"] ?? 40), seed: 20_261_122 },
  );
  ok(covered.outcalls > 5 && covered.snapshots > 5, JSON.stringify(covered));
});
