// A whole answer of 64 tokens by SmolLM2-135M, a model that people use: the same tokens and the same digest of all
// logits in every way on the CPU. Runs where GYROTRON_SMOLLM2 names its file, as `npm run check:models` does.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import process from "node:process";
import { before, test } from "node:test";
import { loadModel } from "gyrotron/node/models";
import { type Answer, answerRequests, type Models, OTHER_WAYS, PLAIN } from "./answer-ways.ts";

const FILE = process.env["GYROTRON_SMOLLM2"] ?? "";
const QUESTION = "Why is the sky blue? Answer as you would to a child, in three sentences.";
const ADVICE = "`npm run check:models` fetches it";

const skip =
  FILE === ""
    ? `GYROTRON_SMOLLM2 names no file: ${ADVICE}`
    : existsSync(FILE)
      ? false
      : `GYROTRON_SMOLLM2 names ${FILE}, which is not there: ${ADVICE}`;

let models: Models;
let requests: ReturnType<typeof answerRequests>;
let expected: Answer[];

before(async () => {
  if (skip !== false) return;
  const { prepared: model, frame } = loadModel(FILE);
  models = { model, draft: loadModel(FILE, "w8a8").prepared };
  const prompt = frame.promptOf([{ role: "user", content: QUESTION }]);
  assert.ok(!("refused" in prompt));
  requests = answerRequests(prompt);
  expected = await PLAIN.run(models, requests);
});

test("SmolLM2 answers, and otherwise when it draws", { skip }, (t) => {
  const [likeliest, drawn] = expected;
  const { precision } = models.model;
  t.diagnostic(`${precision}: ${likeliest?.digest}, drawn ${drawn?.digest}`);
  assert.notDeepEqual(likeliest, drawn);
});

for (const { name, run } of OTHER_WAYS)
  test(`SmolLM2 answers alike: ${name}`, { skip }, async () => {
    assert.deepEqual(await run(models, requests), expected);
  });
