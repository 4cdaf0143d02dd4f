// The tokens of a text file by a model's tokenizer, as u32 on standard output; with --lines, one JSON list a line.
//
//   node --conditions=source bench/quality/tokens.ts MODEL.gguf TEXT [--lines]

import { readFileSync, writeFileSync } from "node:fs";
import {
  byteSource,
  decodeGgufHeader,
  decodeGgufTokenizer,
  decodeHubTokenizer,
} from "gyrotron/model";
import { utf8Bytes } from "gyrotron/base";

const [path = "", file = "", flag] = process.argv.slice(2);
const header = decodeGgufHeader(byteSource(new Uint8Array(readFileSync(path))));
const stored = decodeGgufTokenizer(header);
if (stored.kind !== "hub") throw new TypeError("only for byte-pair vocabularies");
const tokenizer = decodeHubTokenizer(utf8Bytes(stored.json));
const text = readFileSync(file, "utf8");
if (flag === "--lines") {
  writeFileSync(`${file}.tokenizer.json`, stored.json);
  const lines = text.split("\n").map((line) => JSON.stringify(tokenizer.encode(line)));
  writeFileSync(1, `${lines.join("\n")}\n`);
} else {
  writeFileSync(1, new Uint8Array(Uint32Array.from(tokenizer.encode(text)).buffer));
}
