// A byte-pair tokenizer.json as a prepared file keeps it: pieces and merges as sorted tables, so that nothing has to be
// built of the 100,000 of them before a text can become tokens. This file owns the tables and the way there and back.

import { DecodeError } from "gyrotron/base";

/** What of a tokenizer.json is not in the tables, and the tables. */
export interface BytePairTable {
  /** The file's JSON without pieces, and of the merges only the first, which shows their form. */
  readonly rest: string;
  /** JSON of the pieces by id. */
  readonly pieces: string;
  /** Ids in the order of their pieces' UTF-16. */
  readonly sorted: Uint32Array;
  /** Two ids each, best first. */
  readonly merges: Uint32Array;
  /** Ranks of the merges, in the order of the first id, then of the second. */
  readonly ranked: Uint32Array;
}

interface File {
  model: { vocab?: Record<string, number>; merges?: (string | string[])[] };
}

/** Finds pieces and merges in a table. */
export class BytePairs {
  readonly pieces: readonly string[];
  readonly #table: BytePairTable;
  /** Ids of pieces that were asked for. */
  readonly #known: Map<string, number> = new Map();

  /** @throws DecodeError `tokenizer/decode` if the parts of the table do not fit together */
  constructor(table: BytePairTable) {
    this.#table = table;
    this.pieces = parsePieces(table.pieces);
    const { sorted, merges, ranked } = table;
    const count = this.pieces.length;
    const fits =
      sorted.length === count &&
      merges.length === 2 * ranked.length &&
      areBelow(sorted, count) &&
      areBelow(merges, count) &&
      areBelow(ranked, ranked.length);
    if (!fits) throw decodeError("tables do not fit together");
  }

  /** The id of a piece. */
  idOf(piece: string): number | undefined {
    const known = this.#known.get(piece);
    if (known !== undefined) return known;
    const { pieces } = this;
    const { sorted } = this.#table;
    const at = firstNotBefore(sorted.length, (i) => pieces[sorted[i]!]! < piece);
    const id = sorted[at];
    if (id === undefined || pieces[id] !== piece) return undefined;
    this.#known.set(piece, id);
    return id;
  }

  /** How early two neighbours merge. */
  rankOf(left: string, right: string): number | undefined {
    const [first, second] = [this.idOf(left), this.idOf(right)];
    if (first === undefined || second === undefined) return undefined;
    const { merges, ranked } = this.#table;
    const compare = (rank: number): number =>
      merges[2 * rank]! - first || merges[2 * rank + 1]! - second;
    const rank = ranked[firstNotBefore(ranked.length, (i) => compare(ranked[i]!) < 0)];
    return rank !== undefined && compare(rank) === 0 ? rank : undefined;
  }
}

/** The table of a tokenizer.json as `JSON.stringify` writes it; undefined if none would give the same JSON back. */
export function bytePairTable(json: string): BytePairTable | undefined {
  const file = JSON.parse(json) as { model?: { type?: unknown } & File["model"] };
  const { type, vocab, merges } = file.model ?? {};
  if (type !== "BPE" || typeof vocab !== "object" || !Array.isArray(merges)) return undefined;
  const ids = new Map(Object.entries(vocab));
  const pieces: string[] = [];
  for (const [piece, id] of ids) pieces[id] = piece;
  const pairs = merges.flatMap((merge) => {
    const parts = typeof merge === "string" ? merge.split(" ") : merge;
    return parts.length === 2 ? parts.map((part) => ids.get(part)) : [undefined];
  });
  // Ids with holes and merges of unknown pieces have no table.
  if (pieces.length !== ids.size || pairs.includes(undefined)) return undefined;
  const ranks = merges.map((_, rank) => rank);
  const order = (a: number, b: number): number =>
    pairs[2 * a]! - pairs[2 * b]! || pairs[2 * a + 1]! - pairs[2 * b + 1]!;
  const ranked = Uint32Array.from(ranks.sort(order));
  if (ranked.some((rank, i) => i > 0 && order(ranked[i - 1]!, rank) === 0)) return undefined;
  const table = {
    rest: JSON.stringify({
      ...file,
      model: { ...file.model, vocab: {}, merges: merges.slice(0, 1) },
    }),
    pieces: JSON.stringify(pieces),
    sorted: Uint32Array.from([...ids.keys()].sort(byUnits), (piece) => ids.get(piece)!),
    merges: Uint32Array.from(pairs as number[]),
    ranked,
  };
  return jsonOfTable(table) === json ? table : undefined;
}

/** The tokenizer.json that a table was made of. @throws DecodeError `tokenizer/decode` */
export function jsonOfTable(table: BytePairTable): string {
  const { pieces } = new BytePairs(table);
  const file = JSON.parse(table.rest) as File;
  const { model } = file;
  const arePairs = Array.isArray(model.merges?.[0]);
  model.vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]));
  model.merges = Array.from(table.ranked, (_, rank) => {
    const pair = [pieces[table.merges[2 * rank]!]!, pieces[table.merges[2 * rank + 1]!]!];
    return arePairs ? pair : pair.join(" ");
  });
  return JSON.stringify(file);
}

function parsePieces(json: string): string[] {
  let pieces: unknown;
  try {
    pieces = JSON.parse(json);
  } catch {
    throw decodeError("pieces are not JSON");
  }
  if (Array.isArray(pieces) && pieces.every((piece) => typeof piece === "string")) return pieces;
  throw decodeError("pieces are no list of texts");
}

function areBelow(numbers: Uint32Array, limit: number): boolean {
  for (let i = 0; i < numbers.length; i++) if (numbers[i]! >= limit) return false;
  return true;
}

/** The first index that is not before what is looked for, or `count`. */
function firstNotBefore(count: number, isBefore: (index: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byUnits(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function decodeError(what: string): DecodeError {
  return new DecodeError({ code: "tokenizer/decode", what: `byte pairs: ${what}`, offset: 0 });
}
