// An encoder that people use, such as all-MiniLM-L6-v2, from its safetensors file and from a GGUF file written here:
// one identity, the same tokens on thousands of lines, the same vectors. Runs where GYROTRON_ENCODER names its folder.

import { deepEqual, equal } from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { before, test } from "node:test";
import { createWasmBackend } from "gyrotron/backend";
import { formatHex, utf8Bytes } from "gyrotron/base";
import { embeddingsDigest, TextEmbedder } from "gyrotron/learn";
import {
  byteSource,
  decodeGgufEncoder,
  decodeGgufHeader,
  decodeGgufTokenizer,
  decodeHubTokenizer,
  decodeHuggingFaceEncoder,
  type GgufHeader,
  prepareEncoder,
} from "gyrotron/model";
import { installNodeHashes } from "gyrotron/node/models";
import { encoderGgufFile } from "./encoder-gguf.ts";

const FOLDER = process.env["GYROTRON_ENCODER"] ?? "";
const skip = FOLDER === "" && "GYROTRON_ENCODER names no folder";
const ROOT = resolve(import.meta.dirname, "../..");
const LINES = 4000;

const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(FOLDER, name)));
let gguf: Uint8Array;
let header: GgufHeader;

before(() => {
  if (skip !== false) return;
  installNodeHashes();
  gguf = encoderGgufFile({
    config: read("config.json"),
    tensors: read("model.safetensors"),
    tokenizer: read("tokenizer.json"),
  });
  header = decodeGgufHeader(byteSource(gguf));
});

test("identity, tokens and vectors of both files are the same", { skip }, async () => {
  const files = { config: read("config.json"), tensors: read("model.safetensors") };
  const model = prepareEncoder(decodeHuggingFaceEncoder(files));
  const fromGguf = prepareEncoder(decodeGgufEncoder(byteSource(gguf), header));
  equal(formatHex(fromGguf.identity), formatHex(model.identity));
  const expected = decodeHubTokenizer(read("tokenizer.json"));
  const stored = decodeGgufTokenizer(header);
  const tokenizer = decodeHubTokenizer(utf8Bytes(stored.kind === "hub" ? stored.json : ""));
  const lines = globSync("{docs,src/canister}/**/*.{md,ts}", { cwd: ROOT })
    .toSorted()
    .flatMap((file) => readFileSync(join(ROOT, file), "utf8").split("\n"))
    .filter((line) => line.trim() !== "")
    .slice(0, LINES);
  equal(lines.length, LINES);
  for (const line of lines) deepEqual(tokenizer.encodeFramed(line), expected.encodeFramed(line));
  const backend = await createWasmBackend({ threads: 2 });
  const digests = await Promise.all(
    [
      new TextEmbedder(model, expected, backend),
      new TextEmbedder(fromGguf, tokenizer, backend),
    ].map(async (embedder) => {
      const embeddings = await embedder.embed(lines.slice(0, 10));
      return formatHex(embeddingsDigest(embeddings.map(({ vector }) => vector)));
    }),
  );
  equal(digests[0], digests[1]);
  await backend.close();
});
