// `gyrotron embed`: vectors of texts by an encoder on this machine, how alike the texts are, and the digest
// by which others can check that they computed the same.

import { formatHex } from "gyrotron/base";
import { embeddingsDigest, type TextEmbedding } from "gyrotron/learn";
import { PRECISIONS } from "gyrotron/tensor";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type FlagTable, readFlags } from "../flags.ts";
import { BACKEND_DETAILS, BACKEND_FLAGS, checkOracleTime, readBackend } from "../local-backend.ts";
import { type LocalEncoder, openEncoder } from "../local-encoder.ts";
import { fact, paint, print, printable } from "../output.ts";
import { readPrecision } from "../run-controls.ts";

const TABLE = {
  precision: { type: "string" },
  ...BACKEND_FLAGS,
  json: { type: "boolean" },
} as const satisfies FlagTable;

/** Numbers of a vector that people are shown. */
const SHOWN = 6;

export const embed: Command = {
  usage: "embed MODEL TEXT... [--json]",
  summary: "Turns texts into vectors with an encoder, on this machine.",
  details: [
    "MODEL            a BERT-type encoder such as all-MiniLM-L6-v2: a .gguf file, or a folder with config.json,",
    "                 model.safetensors and tokenizer.json",
    "TEXT...          each text gets a vector; two or more are compared by their cosines",
    `--precision P    ${PRECISIONS.join(", ")}: bits of weights and activations`,
    ...BACKEND_DETAILS,
    "--json           one JSON object with the whole vectors",
  ],
  async run(args) {
    const { usage } = this;
    const flags = readFlags(args, TABLE, usage);
    const [folder, ...texts] = flags.positionals;
    if (folder === undefined || texts.length === 0) {
      throw new CliError({ code: "cli/usage", problem: "a model and a text are needed", usage });
    }
    const choice = readBackend(flags, usage);
    const precision = readPrecision(flags, usage);
    const encoder = await openEncoder(folder, { precision, ...choice });
    try {
      if (choice.backend === "oracle") checkOracleTime(encoder.workOf(texts), usage);
      const startMs = performance.now();
      const embeddings = await encoder.embed(texts);
      const report = { texts, embeddings, ms: performance.now() - startMs };
      (flags.isSet("json") ? showForPrograms : showForPeople)(encoder, report);
      return 0;
    } finally {
      await encoder.close();
    }
  },
};

interface Report {
  readonly texts: readonly string[];
  readonly embeddings: readonly TextEmbedding[];
  readonly ms: number;
}

function showForPeople({ model, device }: LocalEncoder, { texts, embeddings, ms }: Report): void {
  texts.forEach((text, i) => {
    const { vector, tokenCount, isTruncated } = embeddings[i]!;
    print(`${paint(String(i + 1).padStart(3), "faint")}  ${paint(printable(text), "strong")}`);
    const numbers = Array.from(vector.subarray(0, SHOWN), (value) => value.toFixed(4)).join(" ");
    const cut = isTruncated ? ", the rest of the text was cut off" : "";
    print(`     ${numbers}${vector.length > SHOWN ? " ..." : ""}  (${tokenCount} tokens${cut})`);
  });
  print();
  if (texts.length > 1) {
    print(`     ${texts.map((_, i) => String(i + 1).padStart(8)).join("")}`, "faint");
    cosines(embeddings).forEach((row, i) => {
      const cells = row.map((value) => value.toFixed(4).padStart(8)).join("");
      print(`${paint(String(i + 1).padStart(5), "faint")}${cells}`);
    });
    print();
  }
  fact("model", `${formatHex(model.identity)}, vectors of ${model.shape.width}`);
  fact("device", `${device}, ${model.precision}`);
  fact("time", `${ms.toFixed(0)} ms`);
  fact("digest", digestOf(embeddings));
}

function showForPrograms(
  { model, backend, device }: LocalEncoder,
  { texts, embeddings, ms }: Report,
): void {
  const report = {
    modelHash: formatHex(model.identity),
    backend,
    device,
    precision: model.precision,
    width: model.shape.width,
    embeddings: embeddings.map(({ vector, tokenCount, isTruncated }, i) => {
      return { text: texts[i], tokens: tokenCount, truncated: isTruncated, vector: [...vector] };
    }),
    cosines: cosines(embeddings),
    digest: digestOf(embeddings),
    milliseconds: Math.round(ms),
  };
  print(JSON.stringify(report, undefined, 2));
}

function digestOf(embeddings: readonly TextEmbedding[]): string {
  return formatHex(embeddingsDigest(embeddings.map(({ vector }) => vector)));
}

/** The cosine of each two vectors; 0 where one is all zeros. */
function cosines(embeddings: readonly TextEmbedding[]): number[][] {
  const dot = (left: Float32Array, right: Float32Array): number =>
    left.reduce((sum, value, i) => sum + value * right[i]!, 0);
  const lengths = embeddings.map(({ vector }) => Math.sqrt(dot(vector, vector)));
  return embeddings.map(({ vector: left }, i) =>
    embeddings.map(({ vector: right }, k) => {
      const product = lengths[i]! * lengths[k]!;
      return product === 0 ? 0 : dot(left, right) / product;
    }),
  );
}
