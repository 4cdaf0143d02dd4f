// Foundations that import nothing: assertions, errors, bytes, codecs, limits.
export * from "./assert.ts";
export * from "./bytes.ts";
export * as codec from "./codec.ts";
export {
  ByteReader,
  ByteWriter,
  type Codec,
  type CodecType,
  decodeWith,
  encodeWith,
} from "./codec.ts";
export * from "./errors.ts";
export * from "./leb128.ts";
export * from "./limits.ts";
