// How an answer is steered by flags: what each flag becomes, every mistake in one line, and answers that show what
// the flags did.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BUNDLED_MODEL } from "gyrotron/node/models";
import { CliError } from "./cli-error.ts";
import { readFlags } from "./flags.ts";
import { LocalModel, type TimedRun } from "./local-model.ts";
import {
  CONTROL_FLAGS,
  ONE,
  readControls,
  readPrecision,
  readSampling,
  type RunControls,
} from "./run-controls.ts";

const USAGE = "run";
const TABLE = { ...CONTROL_FLAGS, precision: { type: "string" } } as const;

let local: LocalModel;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "gyrotron-controls-"));
  local = await LocalModel.open(BUNDLED_MODEL, { folder, threads: 1 });
});

after(async () => {
  await local.close();
  rmSync(folder, { recursive: true });
});

test("flags become the fixed point of sampling, or its defaults", () => {
  assert.deepEqual(readSampling(readFlags([], TABLE, USAGE), USAGE), {
    temperature: Math.round(0.6 * ONE),
    topP: Math.round(0.9 * ONE),
    topK: 0,
    seed: 0n,
  });
  const args = ["--temperature", "1.5", "--top-p", "1", "--top-k", "40"];
  const seed = String(2n ** 64n - 1n);
  assert.deepEqual(readSampling(readFlags([...args, "--seed", seed], TABLE, USAGE), USAGE), {
    temperature: 1.5 * ONE,
    topP: ONE,
    topK: 40,
    seed: 2n ** 64n - 1n,
  });
  const { adjustments, minP, stops } = controls(
    ...["--min-p", "0.25", "--repetition-penalty", "1.25", "--presence-penalty=-2"],
    ...["--frequency-penalty", "0.5", "--bias", "7=-100", "--bias", "8=0.5", "--stop", "a"],
    ...["--stop", "b"],
  );
  assert.deepEqual(adjustments, {
    bias: new Map([
      [7, -100 * ONE],
      [8, ONE / 2],
    ]),
    repetitionPenalty: 1.25 * ONE,
    presencePenalty: -2 * ONE,
    frequencyPenalty: ONE / 2,
  });
  assert.deepEqual([minP, stops], [ONE / 4, ["a", "b"]]);
});

test("every mistake names the flag and what it takes", () => {
  const cases: [string[], RegExp][] = [
    [["--temperature", "17"], /^--temperature takes 0 to 16, not 17/],
    [["--temperature=-1"], /^--temperature takes 0 to 16, not -1/],
    [["--temperature", "-.5"], /^--temperature takes 0 to 16, not -.5/],
    [["--temperature", "warm"], /^--temperature takes 0 to 16, not warm/],
    [["--temperature", "1e3"], /not 1e3/],
    [["--top-p", "0"], /^--top-p takes .* to 1, not 0/],
    [["--top-p", "1.01"], /^--top-p/],
    [["--top-k", "-3"], /^--top-k takes 0 to 2147483647, not -3/],
    [["--top-k=1.5"], /^--top-k takes 0 to 2147483647, not 1.5/],
    [["--min-p", "2"], /^--min-p takes 0 to 1, not 2/],
    [["--seed", "18446744073709551616"], /^--seed takes 0 to 18446744073709551615/],
    [["--seed", "seven"], /^--seed takes/],
    [["--repetition-penalty", "0"], /^--repetition-penalty takes .* to 16, not 0/],
    [["--presence-penalty", "17"], /^--presence-penalty takes -16 to 16, not 17/],
    [["--frequency-penalty", "17"], /^--frequency-penalty takes -16 to 16/],
    [["--bias", "7"], /^--bias takes a token's id, = and a number .*, not 7/],
    [["--bias", "7=128"], /^--bias .* not 7=128/],
    [["--bias", "999999=1"], /^--bias .* not 999999=1/],
    [["--bias", "x=1"], /^--bias/],
    [["--stop", ""], /^--stop takes a text/],
    [["--stop", "-x"], /^Option '--stop' argument is ambiguous \(write --stop=\.\.\.\)/],
    [["--log-probabilities", "21"], /^--log-probabilities takes 0 to 20, not 21/],
    [["--precision", "f16"], /^--precision takes w8a8, w8a14, w14a14, not f16/],
    [["--warmth", "1"], /^Unknown option '--warmth'/],
    [["--temperature"], /^Option '--temperature <value>' argument missing/],
  ];
  for (const [args, what] of cases)
    assert.throws(
      () => {
        const flags = readFlags(args, TABLE, USAGE);
        readSampling(flags, USAGE);
        readPrecision(flags, USAGE);
        readControls(flags, local.model, USAGE);
      },
      (error) =>
        error instanceof CliError &&
        error.info.code === "cli/usage" &&
        what.test(error.info.problem),
      args.join(" "),
    );
});

test("a schema that cannot be read or enforced is named with its place", () => {
  const file = join(folder, "schema.json");
  const cases: [string | undefined, RegExp][] = [
    [undefined, /ENOENT/],
    ["{", /JSON/],
    ['"text"', /./],
    [JSON.stringify({ type: "object", properties: { a: { type: "rock" } } }), /a.*: /],
    [JSON.stringify({ $ref: "#/definitions/none" }), /\$ref|definitions/],
  ];
  for (const [text, what] of cases) {
    rmSync(file, { force: true });
    if (text !== undefined) writeFileSync(file, text);
    assert.throws(
      () => controls("--schema", file),
      (error) =>
        error instanceof CliError &&
        error.info.code === "cli/file" &&
        error.info.file === file &&
        what.test(error.info.problem),
      text,
    );
  }
});

test("answers show what the flags did", async () => {
  const plain = await answer();
  assert.deepEqual((await answer()).encoded, plain.encoded);
  const word = /[a-z]{3,}/.exec(textOf(plain).slice(4))?.[0] ?? "";
  assert.notEqual(word, "");
  const stopped = textOf(await answer("--stop", word));
  assert.equal(stopped, textOf(plain).slice(0, textOf(plain).indexOf(word)));

  const [first = 0] = plain.tokens;
  const biased = await answer("--bias", `${first}=-100`);
  assert.ok(!biased.tokens.includes(first));

  const file = join(folder, "choice.json");
  writeFileSync(file, JSON.stringify({ enum: ["fox", "crow"] }));
  assert.match(textOf(await answer("--schema", file)), /^"(fox|crow)"$/);

  const reported = controls("--log-probabilities", "3");
  const { tokens } = await run(reported);
  assert.deepEqual(tokens, plain.tokens);
  const reports = reported.logProbabilities ?? [];
  assert.deepEqual(
    reports.map(({ token }) => token),
    plain.tokens,
  );
  for (const { token, logProbability, top } of reports) {
    const [likeliest] = top;
    assert.ok(likeliest !== undefined && top.length === 3);
    assert.ok(logProbability <= likeliest.logProbability && likeliest.logProbability <= 0);
    const same = top.find((other) => other.token === token);
    if (same !== undefined) assert.equal(same.logProbability, logProbability);
  }
});

function controls(...args: string[]): RunControls {
  return readControls(readFlags(args, TABLE, USAGE), local.model, USAGE);
}

function answer(...args: string[]): Promise<TimedRun> {
  return run(controls(...args));
}

function run(given: RunControls): Promise<TimedRun> {
  const job = {
    modelHash: local.model.record.hash,
    messages: [{ role: "user" as const, content: "The king" }],
    outputTokensMax: 24,
    sampling: readSampling(readFlags([], TABLE, USAGE), USAGE),
  };
  return local.run(job, undefined, given);
}

function textOf({ result }: TimedRun): string {
  assert.ok(result.kind === "completed");
  return result.text;
}
