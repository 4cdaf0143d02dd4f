// What the network knows of a model: its name, identity and what its work costs, all from shapes and
// counts, so that a price is known before a run and recomputed after it. Owns no prices.

import { type Codec, codec } from "gyrotron/base";
import type { ChatMessage } from "./job.ts";

const { fixedBytes, record, text, u32, u64 } = codec;

/** A model that jobs may name. */
export interface ModelRecord {
  name: string;
  /** Identity of the prepared model. */
  hash: Uint8Array;
  contextTokensMax: number;
  /** Multiply-adds of one token besides attention. */
  macsPerToken: bigint;
  /** Multiply-adds of attention of one token for each position that it looks at. */
  macsPerPosition: bigint;
  /** Tokens that the chat frame adds to a prompt, at most. */
  frameTokensMax: number;
  /** Tokens that the chat frame adds for each message, at most. */
  messageTokensMax: number;
}

export const modelRecordCodec: Codec<ModelRecord> = record<{
  [K in keyof ModelRecord]: ModelRecord[K];
}>({
  name: text,
  hash: fixedBytes(32),
  contextTokensMax: u32,
  macsPerToken: u64,
  macsPerPosition: u64,
  frameTokensMax: u32,
  messageTokensMax: u32,
});

/** Tokens of a prompt, at most: a token covers at least one byte. */
export function promptTokensMax(
  model: ModelRecord,
  messages: readonly ChatMessage[],
  utf8Length: (text: string) => number,
): number {
  const bytes = messages.reduce((sum, { content }) => sum + utf8Length(content), 0);
  const framing = model.frameTokensMax + messages.length * model.messageTokensMax;
  return Math.min(bytes + framing, model.contextTokensMax);
}

/** Multiply-adds of evaluating `promptTokens` and then generating `outputTokens`. */
export function macsOf(model: ModelRecord, promptTokens: number, outputTokens: number): bigint {
  const tokens = BigInt(promptTokens + outputTokens);
  return model.macsPerToken * tokens + (model.macsPerPosition * tokens * (tokens + 1n)) / 2n;
}
