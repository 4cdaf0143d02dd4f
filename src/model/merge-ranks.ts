// The merges of a byte-pair vocabulary in the form that the library asks for, without the form that it would
// build: a text of JSON for each of some 50,000 pairs, most of which no text ever needs.

import { Tokenizer as Library } from "@huggingface/tokenizers";

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
  model.bpe_ranks = new PairRanks(ranks);
  return library;
}

/** Whether this is a byte-pair model of the library, whose types do not say what it has. */
function hasRanks(model: object): model is { bpe_ranks: ReadonlyMap<string, number> } {
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
  readonly #ranks: ReadonlyMap<string, number>;

  constructor(ranks: ReadonlyMap<string, number>) {
    super();
    this.#ranks = ranks;
  }

  override get(pair: string): number | undefined {
    const [left, right] = JSON.parse(pair) as [string, string];
    return this.#ranks.get(`${left} ${right}`);
  }
}
