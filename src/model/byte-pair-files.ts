// The tokenizer of GPT-2 as its first files hold it: vocab.json and merges.txt, made into a tokenizer.json.

import { DecodeError, utf8Bytes, utf8Text } from "gyrotron/base";

const BYTES_MAX = 32 * 1024 * 1024;
const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
/** Tokens that steer and stand for no text, as `<|endoftext|>`. */
const SPECIAL = /^<\|[^|]+\|>$/;

/** The bytes of a tokenizer.json with the same vocabulary. @throws DecodeError `tokenizer/decode` */
export function joinBytePairFiles(vocabulary: Uint8Array, merges: Uint8Array): Uint8Array {
  const vocab = parseVocabulary(textOf(vocabulary, "vocab.json"));
  const lines = textOf(merges, "merges.txt").split(/\r?\n/);
  const added = Object.entries(vocab).flatMap(([content, id]) => {
    if (!SPECIAL.test(content)) return [];
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, special: true, ...plain }];
  });
  const file = {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { ...BYTE_LEVEL, use_regex: true },
    post_processor: null,
    decoder: BYTE_LEVEL,
    model: { type: "BPE", vocab, merges: lines.filter(isMerge) },
  };
  return utf8Bytes(JSON.stringify(file));
}

/** The first line names a version, the last may be empty. */
function isMerge(line: string, index: number): boolean {
  if (line === "" || (index === 0 && line.startsWith("#version"))) return false;
  if (!/^\S+ \S+$/.test(line)) throw decodeError(`merges.txt: line ${index + 1} is no pair`);
  return true;
}

function parseVocabulary(text: string): Record<string, number> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw decodeError("vocab.json is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw decodeError("vocab.json is no object");
  for (const [token, id] of Object.entries(value)) {
    if (!Number.isSafeInteger(id)) throw decodeError(`vocab.json: ${token} has no number`);
  }
  return value as Record<string, number>;
}

function textOf(bytes: Uint8Array, name: string): string {
  if (bytes.length > BYTES_MAX) throw decodeError(`${name} is too long`);
  const text = utf8Text(bytes);
  if (text === undefined) throw decodeError(`${name} is not UTF-8`);
  return text;
}

function decodeError(what: string): DecodeError {
  return new DecodeError({ code: "tokenizer/decode", what, offset: 0 });
}
