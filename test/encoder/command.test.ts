// `gyrotron embed` as a user meets it, on a small random encoder: vectors, cosines and a digest that do not
// depend on threads; every mistake in one line.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { encoderFiles, encoderTokenizerFile } from "./encoder-files.ts";
import { encoderGgufFile } from "./encoder-gguf.ts";
import { runCli, temporaryFolder } from "../e2e/running-node.ts";

const folder = join(temporaryFolder(), "encoder");
const files = encoderFiles({ pooling: { pooling_mode_mean_tokens: true } });
const contents: readonly [string, Uint8Array | undefined][] = [
  ["config.json", files.config],
  ["model.safetensors", files.tensors],
  ["sentence_bert_config.json", files.sentence],
  ["1_Pooling/config.json", files.pooling],
  ["tokenizer.json", encoderTokenizerFile()],
];

before(() => {
  for (const [name, bytes] of contents) write(name, bytes!);
});

test("embed gives programs whole vectors, cosines and a digest that threads do not change", async () => {
  const texts = ["the cat sat", "a dog", "the cat sat"];
  const runs = await Promise.all(
    ["1", "2"].map((threads) =>
      runCli(["embed", folder, ...texts, "--json", "--threads", threads]),
    ),
  );
  const [one, two] = runs.map(({ status, stdout, stderr }) => {
    equal(status, 0, stderr);
    return JSON.parse(stdout) as Report;
  });
  equal(one!.digest, two!.digest);
  match(one!.digest, /^[0-9a-f]{64}$/);
  deepEqual(
    one!.embeddings.map(({ text }) => text),
    texts,
  );
  deepEqual(one!.embeddings[0]!.vector, one!.embeddings[2]!.vector);
  const [first, second] = one!.embeddings.map(({ vector }) => vector);
  const dot = first!.reduce((sum, value, i) => sum + value * second![i]!, 0);
  ok(Math.abs(one!.cosines[0]![1]! - dot) < 1e-6 && dot < 1 - 1e-6);
});

test("embed takes a GGUF file of the same encoder, with the same vectors", async () => {
  const file = join(folder, "encoder.gguf");
  const gguf = encoderGgufFile({
    config: files.config,
    tensors: files.tensors,
    tokenizer: encoderTokenizerFile(),
  });
  write("encoder.gguf", gguf);
  const [expected, found] = await Promise.all(
    [folder, file].map(async (path) => {
      const run = await runCli(["embed", path, "The cat sat.", "a dogs [MASK]", "--json"]);
      equal(run.status, 0, run.stderr);
      return JSON.parse(run.stdout) as Report;
    }),
  );
  equal(found!.digest, expected!.digest);
  write("encoder.gguf", gguf.subarray(0, gguf.length - 32));
  const { status, stderr } = await runCli(["embed", file, "a"]);
  equal(status, 1);
  match(stderr, /encoder\.gguf: .* reaches past the end \(at byte \d+\)\n$/);
});

test("embed tells people what was cut off, and how alike texts are", async () => {
  const long = "the cat sat a mat dog cat the";
  const { status, stdout, stderr } = await runCli(["embed", folder, "a dog", long]);
  equal(status, 0, stderr);
  match(stdout, /a dog\n.*\(4 tokens\)\n/);
  match(stdout, /\(9 tokens, the rest of the text was cut off\)/);
  match(stdout, /^ +1 +1\.0000 +-?[01]\.\d{4}$/m);
  match(stdout, /^digest +[0-9a-f]{64}$/m);
});

const mistakes: readonly [string, () => string[], RegExp][] = [
  ["no text", () => ["embed", folder], /^a model and a text are needed: use `gyrotron embed /],
  ["no folder", () => ["embed", "nowhere", "a"], /cannot use the model nowhere: there is no such/],
  [
    "a file for a folder",
    () => ["embed", join(folder, "config.json"), "a"],
    /embeddings need a \.gguf file, or a folder with config\.json/,
  ],
  ["no precision", () => ["embed", folder, "a", "--precision", "w1"], /--precision takes .*w8a14/],
];

for (const [name, args, expected] of mistakes) {
  test(`embed says what is wrong: ${name}`, async () => {
    const { status, stderr } = await runCli(args());
    equal(status, 1);
    match(stderr, expected);
    equal(stderr.trim().split("\n").length, 1);
  });
}

test("embed names the file that is damaged or missing", async () => {
  for (const [name, bytes] of contents) {
    write(name, new TextEncoder().encode("{"));
    const { status, stderr } = await runCli(["embed", folder, "a"]);
    equal(status, 1, name);
    ok(stderr.includes(name), stderr);
    write(name, bytes!);
  }
  rmSync(join(folder, "tokenizer.json"));
  const { stderr } = await runCli(["embed", folder, "a"]);
  match(stderr, /tokenizer\.json: there is no such file/);
});

interface Report {
  readonly digest: string;
  readonly cosines: readonly (readonly number[])[];
  readonly embeddings: readonly { readonly text: string; readonly vector: readonly number[] }[];
}

function write(name: string, bytes: Uint8Array): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}
