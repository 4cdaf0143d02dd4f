// Models kept in the data folder, prepared: models/<name>/prepared.bin with a note of where it came from.
// A model appears whole or not at all; what a stopped process left behind is overwritten by the next.

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type LanguageModel, loadLanguageModel } from "gyrotron/accelerator";
import { equalBytes, formatHex } from "gyrotron/base";
import {
  encodePreparedFile,
  isTrueTokenizer,
  modelIdentity,
  tabledTokenizer,
} from "gyrotron/model";
import type { Precision } from "gyrotron/tensor";
import { openByteSource } from "./file-source.ts";
import { PREPARED } from "./model-folder.ts";
import { NodeError } from "../node-error.ts";

const NOTE = "model.json";

/** A model in the store. */
export interface StoredModel {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  /** Where it came from, as it was asked for. */
  readonly source: string;
  /** SHA-256 of the file it was made from, hex. */
  readonly sourceHash: string;
  /** The model's hash on the network, hex. */
  readonly hash: string;
  readonly precision: Precision;
}

/** Names that serve as folders on every system. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The store of a data folder. */
export class ModelStore {
  readonly #folder: string;

  constructor(dataFolder: string) {
    this.#folder = join(dataFolder, "models");
  }

  /** All models by name. @throws NodeError `node/model` on a note that cannot be read */
  list(): StoredModel[] {
    if (!existsSync(this.#folder)) return [];
    const names = readdirSync(this.#folder).filter((name) =>
      existsSync(join(this.#folder, name, PREPARED)),
    );
    return names.sort((a, b) => (a < b ? -1 : 1)).map((name) => this.#read(name));
  }

  /** The path of a model's file, which `loadModel` takes; undefined if there is none of the name. */
  find(name: string): string | undefined {
    const path = join(this.#folder, name, PREPARED);
    return NAME.test(name) && existsSync(path) ? path : undefined;
  }

  /** Whether a model can be kept under it. @throws NodeError `node/model` if the name is taken or no name */
  checkName(name: string): void {
    if (!NAME.test(name))
      throw refused(name, "a name has letters, digits, dots, dashes, at most 64");
    if (this.find(name) !== undefined)
      throw refused(
        name,
        "there is a model of this name already; remove it or take another --name",
      );
  }

  /** Keeps a model. @throws NodeError `node/model` if the name is taken or no name */
  add(
    name: string,
    model: LanguageModel,
    origin: { source: string; sourceHash: string },
  ): StoredModel {
    this.checkName(name);
    const draft = join(this.#folder, `${name}.new`);
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { recursive: true, mode: 0o700 });
    const { prepared, stored } = model;
    const { tokenizer: given, frame } = stored;
    const tokenizer = given.kind === "pieces" ? given : tabledTokenizer(given);
    const file = { model: prepared, tokenizer, frame };
    writeParts(join(draft, PREPARED), encodePreparedFile(file));
    const note = { ...origin, hash: formatHex(model.record.hash), precision: prepared.precision };
    writeParts(join(draft, NOTE), [Buffer.from(`${JSON.stringify(note, undefined, 2)}\n`)]);
    renameSync(draft, join(this.#folder, name));
    return this.#read(name);
  }

  /** @throws NodeError `node/model` if there is none of the name */
  remove(name: string): void {
    if (this.find(name) === undefined) throw refused(name, "there is no model of this name");
    rmSync(join(this.#folder, name), { recursive: true });
  }

  #read(name: string): StoredModel {
    const folder = join(this.#folder, name);
    const path = join(folder, PREPARED);
    const note = readNote(join(folder, NOTE));
    return { name, path, bytes: statSync(path).size, ...note };
  }
}

/** Loads a stored model and checks it. @throws NodeError `node/model` if it is not what its identity says */
export function verifyStoredModel(path: string): LanguageModel {
  const file = openByteSource(path);
  const model = loadLanguageModel(path, { format: "prepared", file });
  checkStoredModel(path, model);
  return model;
}

/** Whether a model from a stored file is what its identity says: reads all of it. @throws NodeError `node/model` if not */
export function checkStoredModel(path: string, model: LanguageModel): void {
  if (!equalBytes(modelIdentity(model.prepared.weights), model.prepared.identity))
    throw damaged(path, "the weights do");
  const { tokenizer } = model.stored;
  if (tokenizer.kind !== "pieces" && !isTrueTokenizer(tokenizer))
    throw damaged(path, "the tokenizer does");
}

function readNote(path: string): Pick<StoredModel, "source" | "sourceHash" | "hash" | "precision"> {
  try {
    const { source, sourceHash, hash, precision } = JSON.parse(readFileSync(path, "utf8")) as {
      [K in "source" | "sourceHash" | "hash"]: string;
    } & { precision: Precision };
    return { source, sourceHash, hash, precision };
  } catch (error) {
    throw new NodeError({ code: "node/model", path, reason: String(error) }, { cause: error });
  }
}

function writeParts(path: string, parts: Iterable<Uint8Array>): void {
  const file = openSync(path, "w", 0o600);
  try {
    for (const part of parts) {
      let done = 0;
      while (done < part.length) done += writeSync(file, part, done);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function damaged(path: string, what: string): NodeError {
  return refused(path, `${what} not have its identity: the file is damaged, add the model again`);
}

function refused(name: string, reason: string): NodeError {
  return new NodeError({ code: "node/model", path: name, reason });
}
