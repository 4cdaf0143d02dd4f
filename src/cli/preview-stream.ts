// The text of an answer while it is written: the node's server-sent events for one request. Nothing
// here is certified; whoever shows it compares it with the certified reply.

import { StringDecoder } from "node:string_decoder";
import { Cbor, type HttpAgent } from "@icp-sdk/core/agent";
import { utf8Bytes } from "gyrotron/base";

/** A preview that is being received. It never fails: a preview that breaks off is a short one. */
export interface Preview {
  /** The text so far. */
  text(): string;
  /** How fast it came. */
  pace(): WritingPace;
  /** Resolves when no more text will come. */
  readonly ended: Promise<void>;
  stop(): void;
}

/** Of the text that came while it was written: not what a late reader got at once. Zeros if that is too little. */
export interface WritingPace {
  readonly ms: number;
  /** Share of the text that came in this time, 0 to 1. */
  readonly share: number;
}

/** What comes within this time of the first piece may have been written before. */
const BACKLOG_MS = 25;
/** Less time than this measures nothing. */
const PACE_MS_MIN = 100;

/** Longest event that a node may send. */
const EVENT_CHARACTERS_MAX = 1_048_576;

/** Watches the answer to a request of this agent's identity; `onText` gets each new piece. */
export function watchPreview(
  agent: HttpAgent,
  url: string,
  requestId: Uint8Array,
  onText: (piece: string) => void,
): Preview {
  const abort = new AbortController();
  let text = "";
  let firstMs: number | undefined;
  let backlog = { ms: 0, length: 0 };
  let lastMs = 0;
  const take = (piece: string): void => {
    lastMs = performance.now();
    firstMs ??= lastMs;
    text += piece;
    if (lastMs - firstMs <= BACKLOG_MS) backlog = { ms: lastMs, length: text.length };
    onText(piece);
  };
  const receive = async (): Promise<void> => {
    const response = await openStream(agent, url, requestId, abort.signal);
    if (!response.ok || response.body === null) return;
    for await (const piece of textPieces(response.body)) take(piece);
  };
  return {
    text: () => text,
    pace: () =>
      lastMs - backlog.ms < PACE_MS_MIN
        ? { ms: 0, share: 0 }
        : { ms: lastMs - backlog.ms, share: 1 - backlog.length / text.length },
    ended: receive().catch(() => {}),
    stop: () => abort.abort(),
  };
}

/** The pieces of text in a stream of events, until it says that it has ended. */
export async function* textPieces(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let buffer = "";
  const decoder = new StringDecoder("utf8");
  for await (const chunk of body) {
    buffer += decoder.write(chunk);
    const events = buffer.split("\n\n");
    buffer = events.pop() ?? "";
    if (buffer.length > EVENT_CHARACTERS_MAX) return;
    for (const event of events) {
      const fields = new Map(event.split("\n").map(readField));
      if (fields.get("event") === "end") return;
      const piece = fields.get("event") === "text" ? readDelta(fields.get("data")) : undefined;
      if (piece !== undefined) yield piece;
    }
  }
}

/** A preview is asked for by a read_state request, as any agent can sign it. */
async function openStream(
  agent: HttpAgent,
  url: string,
  requestId: Uint8Array,
  signal: AbortSignal,
): Promise<Response> {
  const paths = [[utf8Bytes("request_status"), requestId]];
  const { body } = (await agent.createReadStateRequest({ paths })) as { body: unknown };
  return fetch(`${url}/gyrotron/v1/preview`, {
    method: "POST",
    headers: { "content-type": "application/cbor" },
    body: Cbor.encode(body),
    signal,
  });
}

function readField(line: string): [string, string] {
  const colon = line.indexOf(":");
  return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}

function readDelta(data = ""): string | undefined {
  try {
    const value = JSON.parse(data) as unknown;
    if (typeof value !== "object" || value === null || !("delta" in value)) return undefined;
    return typeof value.delta === "string" ? value.delta : undefined;
  } catch {
    return undefined;
  }
}
