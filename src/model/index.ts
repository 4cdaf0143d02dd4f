// Model files and tokenizers: from untrusted bytes to prepared, content-addressed models.
export * from "./error.ts";
export { decodeHuggingFace } from "./hugging-face.ts";
export { decodeLlama2c } from "./llama2c.ts";
export type { ModelSettings, ModelSource, SourceLayer } from "./model-source.ts";
export { prepareModel, type PreparedModel } from "./prepare.ts";
export { Tokenizer, TokenStream } from "./tokenizer.ts";
