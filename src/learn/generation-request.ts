// What may be asked of a generator, and how it ends. Types and their checks alone.

import type { PreparedModel } from "gyrotron/model";
import type { Cost, NonFinite } from "gyrotron/tensor";
import { type Adjustments, checkAdjustments } from "./adjustment.ts";
import type { Constraint } from "./constraint.ts";
import { checkInteger, GenerationError } from "./error.ts";
import { tokensMax } from "./quote.ts";
import { checkSampling, type SamplingParameters } from "./sampling.ts";

/** One text to be continued. */
export interface GenerationRequest {
  /** With the begin token, if there is to be one. */
  readonly promptTokens: readonly number[];
  /** Tokens to draw at most; the context may allow fewer. */
  readonly maxTokens: number;
  readonly sampling: SamplingParameters;
  readonly adjustments?: Adjustments;
  /** What the text may be, from its first token on; used up by this request. */
  readonly constraint?: Constraint;
  /** u64. */
  readonly seed: bigint;
  /** u32 that tells sequences of one job apart. Default 0. */
  readonly sequence?: number;
  /** Called with each token and its logits as they are known; generation waits for the promise. */
  readonly onToken?: (token: GeneratedToken) => void | Promise<void>;
  /** Asked after each token that is no end token; true ends the generation with `stop`. */
  readonly isComplete?: () => boolean;
  /** Checked before each step; true ends the generation with `cancelled`. */
  readonly isCancelled?: () => boolean;
}

/** A token as it is drawn. */
export interface GeneratedToken {
  readonly token: number;
  /** Position of the logits it was drawn from. */
  readonly position: number;
  readonly logits: Float32Array;
  /** The digest of all logits so far. */
  readonly digest: Uint8Array;
}

/** How a generation ended. All fields but those of `cancelled` are the same on every device. */
export type GenerationOutcome =
  | {
      readonly kind: "done";
      /** What was drawn, without an end token. */
      readonly tokens: readonly number[];
      /** `stop` where the request or its constraint saw the text complete. */
      readonly finish: "end" | "stop" | "length" | "context";
      /** Chain over the logits of every drawn token. */
      readonly digest: Uint8Array;
      /** Tokens drawn, an end token included: what is charged. */
      readonly drawn: number;
      readonly cost: Cost;
    }
  | { readonly kind: "non-finite"; readonly failure: NonFinite }
  | { readonly kind: "cancelled" };

/** @throws GenerationError on a request that cannot run */
export function checkRequest(model: PreparedModel, request: GenerationRequest): void {
  const { vocabulary } = model.shape;
  tokensMax(model, request.promptTokens.length);
  for (const token of request.promptTokens) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabulary)) {
      throw new GenerationError({ code: "learn/token-unknown", token, vocabulary });
    }
  }
  checkInteger("maxTokens", request.maxTokens, { min: 1, max: 2 ** 31 - 1 });
  checkInteger("sequence", request.sequence ?? 0, { min: 0, max: 2 ** 32 - 1 });
  checkSampling(request.sampling);
  if (request.adjustments !== undefined) checkAdjustments(request.adjustments, vocabulary);
}
