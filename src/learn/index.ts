// Generation with prepared models: sampling, batches, digests of all logits, quotes.
export { adjustLogits, type Adjustments } from "./adjustment.ts";
export type { Constraint } from "./constraint.ts";
export * from "./error.ts";
export type { GeneratedToken, GenerationOutcome, GenerationRequest } from "./generation-request.ts";
export {
  createGenerator,
  type DraftOptions,
  type GeneratorOptions,
  TextGenerator,
} from "./generator.ts";
export { createJsonConstraint, JsonGrammar } from "./json-constraint/index.ts";
export { logProbabilities, type TokenLogProbability, topTokens } from "./log-probability.ts";
export { generationCost, type PricedModel, quoteGeneration, tokensMax } from "./quote.ts";
export { checkSampling, GREEDY, sampleToken, type SamplingParameters } from "./sampling.ts";
export { embeddingsDigest, type TextEmbedding, TextEmbedder } from "./text-embedder.ts";
