// Model files and tokenizers: from untrusted bytes to prepared, content-addressed models.
export { type ByteSource, byteSource } from "./byte-source.ts";
export { joinBytePairFiles } from "./byte-pair-files.ts";
export {
  ChatTemplate,
  beginsTextsByConfig,
  chatTemplateOfConfig,
  type TemplateMessage,
} from "./chat-template.ts";
export type { EncoderShape, EncoderSource } from "./encoder/encoder-source.ts";
export { decodeHuggingFaceEncoder, type EncoderFiles } from "./encoder/hugging-face-encoder.ts";
export { type PreparedEncoder, prepareEncoder } from "./encoder/prepare-encoder.ts";
export * from "./error.ts";
export { decodeGgufHeader, type GgufHeader } from "./gguf/container.ts";
export { decodeGgufModel } from "./gguf/decoder.ts";
export { decodeGgufEncoder } from "./gguf/encoder.ts";
export { beginsTexts, chatTemplateOf, decodeGgufTokenizer } from "./gguf/tokenizer.ts";
export { handedOver } from "./handed-over.ts";
export {
  decodeHubTokenizer,
  HubTokenizer,
  hubTokenizerJson,
  isTrueTokenizer,
  reopenHubTokenizer,
  tabledTokenizer,
} from "./hub-tokenizer.ts";
export { decodeHuggingFace } from "./hugging-face.ts";
export { decodeLlama2c } from "./llama2c.ts";
export { type SafetensorsShards, shardNames } from "./safetensors-shards.ts";
export type { ModelSettings, ModelSource, SourceLayer } from "./model-source.ts";
export { PieceTokenizer } from "./piece-tokenizer.ts";
export {
  decodePreparedFile,
  encodePreparedFile,
  PLAIN_FRAMES,
  type PlainFrameName,
  type PreparedFile,
  type StoredFrame,
  type StoredTokenizer,
} from "./prepared-file.ts";
export { modelIdentity } from "./identity.ts";
export { CONTEXT_STANDARD, prepareModel, type PreparedModel } from "./prepare.ts";
export { decodeTokens, type TextTokenizer, TokenStream } from "./text-tokenizer.ts";
