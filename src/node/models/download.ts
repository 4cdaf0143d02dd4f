// One file over HTTP: it goes on where an earlier attempt stopped if the server still has the same file, and
// appears under its name only when it is whole. Which files make up a model is fetch-model.ts's.

import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { NodeError } from "../node-error.ts";

/** Where a download goes, and who hears of it. */
export interface DownloadOptions {
  readonly folder: string;
  /** Bytes so far, and in all if that is known. */
  readonly onProgress: (done: number, total: number | undefined) => void;
  /** So long may a server say nothing. Default 30 s. */
  readonly silenceMs?: number | undefined;
}

const SILENCE_MS = 30_000;
/** Lengths count bytes as they lie in the file. */
const PLAIN = { "accept-encoding": "identity" };

/** The file's path, `<folder>/<name>`; what lies there already is not fetched again. @throws NodeError `node/model` */
export async function download(
  url: string,
  name: string,
  options: DownloadOptions,
): Promise<string> {
  mkdirSync(options.folder, { recursive: true });
  const path = join(options.folder, name === "" ? "model" : name);
  if (existsSync(path)) return path;
  const part = `${path}.part`;
  const note = `${part}.version`;
  const silence = new Silence(options.silenceMs ?? SILENCE_MS);
  try {
    const response = await begin(url, { part, note }, silence);
    const isResumed = response.status === 206;
    const have = isResumed ? statSync(part).size : 0;
    const length = response.headers.get("content-length");
    const total = length === null ? undefined : have + Number(length);
    noteVersion(note, response.headers);
    let done = have;
    const body = Readable.fromWeb(response.body as never);
    body.on("data", (chunk: Uint8Array) => {
      silence.broken();
      options.onProgress((done += chunk.length), total);
    });
    try {
      await pipeline(body, createWriteStream(part, { flags: isResumed ? "a" : "w" }));
    } catch (error) {
      const reason = `broke off after ${done} bytes; another attempt goes on from there`;
      throw failed(url, silence.isOver ? `silence: ${reason}` : reason, error);
    }
    if (total !== undefined && done !== total) throw failed(url, `${done} of ${total} bytes came`);
  } finally {
    silence.end();
  }
  renameSync(part, path);
  rmSync(note, { force: true });
  return path;
}

/** An answer with a body: the rest of the file if the server still has the one that was begun, else all of it. */
async function begin(
  url: string,
  { part, note }: { part: string; note: string },
  silence: Silence,
): Promise<Response> {
  const have = existsSync(part) && existsSync(note) ? statSync(part).size : 0;
  const resume = {
    range: `bytes=${have}-`,
    "if-range": have > 0 ? readFileSync(note, "utf8") : "",
  };
  let response = await request(url, { ...PLAIN, ...(have > 0 && resume) }, silence);
  const range = response.headers.get("content-range") ?? "";
  const isElsewhere = response.status === 206 && !range.startsWith(`bytes ${have}-`);
  if (response.status === 416 || isElsewhere) {
    await response.body?.cancel();
    response = await request(url, PLAIN, silence);
  }
  if (response.ok && response.body !== null) return response;
  throw failed(url, `HTTP ${response.status}`);
}

async function request(
  url: string,
  headers: Record<string, string>,
  { signal }: Silence,
): Promise<Response> {
  try {
    return await fetch(url, { headers, signal });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw failed(url, cause instanceof Error ? cause.message : String(cause), error);
  }
}

/** By which a server tells whether its file is still the same; without that a download begins anew. */
function noteVersion(note: string, headers: Headers): void {
  const tag = headers.get("etag");
  const version = tag !== null && !tag.startsWith("W/") ? tag : headers.get("last-modified");
  if (version === null) rmSync(note, { force: true });
  else writeFileSync(note, version);
}

/** Gives a server up that says nothing for too long. */
class Silence {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#timer = setTimeout(() => {
      this.#abort.abort(new Error(`nothing was heard for ${ms / 1000} s`));
    }, ms);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Something was heard. */
  broken(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function failed(source: string, reason: string, cause?: unknown): NodeError {
  return new NodeError({ code: "node/model", path: source, reason }, { cause });
}
