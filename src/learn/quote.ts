// What a generation costs, from shapes alone (docs/spec/03-op-table.md): the quote before, the charge after.

import {
  type Cost,
  decoderCost,
  type DecoderDesign,
  type DecoderShape,
  LLAMA_DESIGN,
  type Precision,
} from "gyrotron/tensor";
import { checkInteger, GenerationError } from "./error.ts";

/** The part of a model that its prices depend on. */
export interface PricedModel {
  readonly shape: DecoderShape;
  readonly precision: Precision;
  /** Llama's if absent. */
  readonly design?: DecoderDesign;
}

/** The most tokens that can follow a prompt. @throws GenerationError on a prompt that is empty or too long */
export function tokensMax(model: PricedModel, promptTokens: number): number {
  const { context } = model.shape;
  if (promptTokens < 1) throw new GenerationError({ code: "learn/prompt-empty" });
  if (promptTokens > context) {
    throw new GenerationError({ code: "learn/prompt-too-long", tokens: promptTokens, context });
  }
  // The last token is drawn but never run.
  return context - promptTokens + 1;
}

/** Cost of `generatedTokens` tokens drawn after a prompt: the charge. An end token counts as drawn. */
export function generationCost(
  model: PricedModel,
  promptTokens: number,
  generatedTokens: number,
): Cost {
  if (generatedTokens === 0) return { multiplyAdds: 0n, bytes: 0n };
  const count = promptTokens + generatedTokens - 1;
  const range = { first: 0, count, logits: generatedTokens };
  return decoderCost(model.shape, model.precision, range, model.design ?? LLAMA_DESIGN);
}

/** The most that a request can cost: the quote. @throws GenerationError on a request that cannot run */
export function quoteGeneration(model: PricedModel, promptTokens: number, maxTokens: number): Cost {
  checkInteger("maxTokens", maxTokens, { min: 1, max: 2 ** 31 - 1 });
  return generationCost(model, promptTokens, Math.min(maxTokens, tokensMax(model, promptTokens)));
}
