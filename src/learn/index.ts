// Generation with prepared models: sampling, batches, digests of all logits, quotes.
export * from "./error.ts";
export {
  createGenerator,
  type GeneratedToken,
  type GenerationOutcome,
  type GenerationRequest,
  type GeneratorOptions,
  TextGenerator,
} from "./generator.ts";
export { generationCost, type PricedModel, quoteGeneration, tokensMax } from "./quote.ts";
export { checkSampling, GREEDY, sampleToken, type SamplingParameters } from "./sampling.ts";
