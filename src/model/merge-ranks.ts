// The pieces and merges of a byte-pair vocabulary in the form that the library asks for, without the form that it
// would build: a text of JSON for each of some 50,000 pairs, most of which no text ever needs.

import { DecodeError } from "gyrotron/base";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import type { BytePairs } from "./byte-pair-table.ts";

/** The parts of a tokenizer.json that this file looks at. */
interface FileWithMerges {
  readonly model: object;
}

/** The library's tokenizer of a file, made in half the time. @throws whatever the library throws */
export function openLibrary(file: FileWithMerges): Library {
  const merges = "merges" in file.model ? file.model.merges : undefined;
  const ranks = Array.isArray(merges) ? ranksOf(merges) : undefined;
  if (ranks === undefined) return new Library(file, {});
  const library = new Library({ ...file, model: { ...file.model, merges: [] } }, {});
  const { model } = library;
  if (!hasRanks(model)) return new Library(file, {});
  model.bpe_ranks = new PairRanks((left, right) => ranks.get(`${left} ${right}`));
  return library;
}

/** The library's tokenizer of a byte-pair file whose pieces and merges are elsewhere. @throws whatever the library throws */
export function openLibraryOf(file: FileWithMerges, pairs: BytePairs): Library {
  const library = new Library({ ...file, model: { ...file.model, vocab: {}, merges: [] } }, {});
  const { model } = library;
  if (!hasRanks(model))
    throw new DecodeError({ code: "tokenizer/decode", what: "no byte pairs", offset: 0 });
  model.bpe_ranks = new PairRanks((left, right) => pairs.rankOf(left, right));
  const unknown = typeof model.unk_token === "string" ? pairs.idOf(model.unk_token) : undefined;
  if (unknown !== undefined) model.unk_token_id = unknown;
  // So far there are the added tokens, which go before pieces.
  const added = model.tokens_to_ids;
  model.tokens_to_ids = new PieceIds(added, pairs);
  model.vocab = [...pairs.pieces];
  for (const [content, id] of added) model.vocab[id] = content;
  return library;
}

/** Whether this is a byte-pair model of the library, whose types do not say what it has. */
function hasRanks<M extends object>(
  model: M,
): model is M & { bpe_ranks: ReadonlyMap<string, number> } {
  return "bpe_ranks" in model && model.bpe_ranks instanceof Map;
}

/** Ranks by `left right`; undefined if a blank within a token makes that ambiguous. */
function ranksOf(merges: readonly unknown[]): Map<string, number> | undefined {
  const ranks = new Map<string, number>();
  for (let rank = 0; rank < merges.length; rank++) {
    const merge: unknown = merges[rank];
    const key = Array.isArray(merge) ? merge.join(" ") : merge;
    if (typeof key !== "string") return undefined;
    const blank = key.indexOf(" ");
    if (blank < 0 || key.includes(" ", blank + 1)) return undefined;
    ranks.set(key, rank);
  }
  return ranks;
}

/** The library asks by the JSON of a pair. */
class PairRanks extends Map<string, number> {
  readonly #rankOf: (left: string, right: string) => number | undefined;

  constructor(rankOf: (left: string, right: string) => number | undefined) {
    super();
    this.#rankOf = rankOf;
  }

  override get(pair: string): number | undefined {
    const [left, right] = JSON.parse(pair) as [string, string];
    return this.#rankOf(left, right);
  }
}

/** Ids of added tokens and of pieces. */
class PieceIds extends Map<string, number> {
  readonly #pairs: BytePairs;

  constructor(added: ReadonlyMap<string, number>, pairs: BytePairs) {
    super(added);
    this.#pairs = pairs;
  }

  override get(token: string): number | undefined {
    return super.get(token) ?? this.#pairs.idOf(token);
  }

  override has(token: string): boolean {
    return this.get(token) !== undefined;
  }
}
