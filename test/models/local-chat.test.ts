// `chat --model` as a person meets it: each line of the input is answered, what was said before is part of the
// prompt, and what belongs to a node is refused.

import { equal, match, ok } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { before, test } from "node:test";
import { encoderTokenizerFile } from "../encoder/encoder-files.ts";
import { runCli, temporaryFolder } from "../e2e/running-node.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const BIN = join(ROOT, "bin/gyrotron.js");
/** A model of random weights with a template that writes all down that was said. */
const talker = join(temporaryFolder(), "talker");
const TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}";
const LINES_MS_MAX = 90_000;

before(() => {
  mkdirSync(talker);
  for (const name of ["config.json", "model.safetensors"])
    cpSync(join(ROOT, "test/architectures/vectors/llama3", name), join(talker, name));
  writeFileSync(join(talker, "tokenizer.json"), encoderTokenizerFile());
  const config = JSON.stringify({ chat_template: TEMPLATE });
  writeFileSync(join(talker, "tokenizer_config.json"), config);
});

test("each line is answered as `run` answers it, on the backend that was asked for", async () => {
  const flags = ["--max-tokens", "4", "--seed", "5"];
  const texts = await Promise.all(
    ["The fox", "The crow"].map(async (prompt) => {
      const { stdout, stderr } = await runCli(["run", "storyteller", prompt, ...flags, "--json"]);
      equal(stderr, "");
      return (JSON.parse(stdout) as { text: string }).text;
    }),
  );
  for (const backend of ["wasm", "oracle"]) {
    const own = ["--model", "storyteller", "The fox", ...flags, "--backend", backend];
    const { status, stdout } = talk(own, "\n  \nThe crow\n");
    equal(status, 0);
    ok(stdout.startsWith(`${texts[0]}\n\n${texts[1]}\n\nmodel `), stdout);
    match(stdout, new RegExp(`^device +${backend}: `, "m"));
  }
});

test("what was said is part of the prompt, until the context is full", () => {
  const line = `${"the cat sat ".repeat(4)}\n`;
  const one = talk(["--model", talker, "--max-tokens", "1"], line);
  equal(one.status, 0, one.stderr);
  const many = talk(["--model", talker, "--max-tokens", "1"], line.repeat(12));
  equal(many.status, 1);
  match(many.stderr, /^the prompt is too long: \d+ tokens, at most \d+ fit\n$/);
});

test("flags of a node and of a model here do not mix", async () => {
  const cases: [string[], RegExp][] = [
    [["hi", "--model", "storyteller", "--canister", "ask"], /^--canister is for canisters on a/],
    [["hi", "--temperature", "0"], /^the node answers.*: --temperature needs --model: use/],
    [["hi", "there", "--model", "storyteller"], /^the text must be in quotes: use/],
    [["--model", "nobody"], /^there is no model `nobody`/],
    [
      ["--model", "storyteller", "--backend", "gpu"],
      /^--backend takes wasm, native, webgpu, oracle/,
    ],
    [[], /^a text is needed: use `gyrotron chat TEXT/],
  ];
  for (const [args, expected] of cases) {
    const { status, stdout, stderr } = await runCli(["chat", ...args]);
    equal(status, 1);
    equal(stdout, "");
    match(stderr, expected);
  }
});

function talk(
  args: readonly string[],
  input: string,
): { status: number | null; stdout: string; stderr: string } {
  const command = [BIN, "chat", ...args];
  return spawnSync(process.execPath, command, { input, encoding: "utf8", timeout: LINES_MS_MAX });
}
