// Sizes of a graph before they are known: polynomials with integer coefficients over bounded symbols, in one
// canonical form, so that equal sizes are equal data. Values of symbols are bound in resolve.ts.

import { TensorError } from "../error.ts";

/** A size that is chosen when a graph runs: any integer from 0 to `max`. */
export interface DimSymbol {
  readonly name: string;
  readonly max: number;
}

/** `coefficient` times the product of the symbols, which are sorted and repeat for powers. */
export interface DimTerm {
  readonly coefficient: number;
  readonly symbols: readonly string[];
}

/** A sum of terms, sorted, none zero and none alike; no terms stand for 0. */
export interface Dim {
  readonly terms: readonly DimTerm[];
}

/** What a size may be given as: a number stands for the constant. */
export type DimLike = number | Dim;

/** The largest value of each symbol. */
export type DimBounds = ReadonlyMap<string, number>;

/** Terms of a polynomial, and factors of a term. */
export const DIM_LIMITS: { readonly terms: 16; readonly degree: 16; readonly coefficient: number } =
  {
    terms: 16,
    degree: 16,
    coefficient: 2 ** 52,
  };

const ZERO: Dim = { terms: [] };

/** The largest value of each symbol. */
export function dimBounds(symbols: readonly DimSymbol[]): DimBounds {
  return new Map(symbols.map(({ name, max }) => [name, max]));
}

/** The polynomial of a number or of itself. @throws TensorError `tensor/dimension` if not an integer */
export function dim(value: DimLike): Dim {
  if (typeof value !== "number") return value;
  if (!Number.isSafeInteger(value)) {
    throw new TensorError({ code: "tensor/dimension", what: `${value} is not an integer` });
  }
  return value === 0 ? ZERO : { terms: [{ coefficient: value, symbols: [] }] };
}

/** The polynomial that is one symbol. */
export function dimOfSymbol(name: string): Dim {
  return { terms: [{ coefficient: 1, symbols: [name] }] };
}

/** Sum. @throws TensorError `tensor/limit` */
export function addDims(left: DimLike, right: DimLike): Dim {
  return canonical([...dim(left).terms, ...dim(right).terms]);
}

/** Difference. @throws TensorError `tensor/limit` */
export function subtractDims(left: DimLike, right: DimLike): Dim {
  return addDims(left, multiplyDims(right, -1));
}

/** Product. @throws TensorError `tensor/limit` */
export function multiplyDims(left: DimLike, right: DimLike): Dim {
  const terms: DimTerm[] = [];
  for (const a of dim(left).terms) {
    for (const b of dim(right).terms) {
      terms.push({
        coefficient: a.coefficient * b.coefficient,
        symbols: [...a.symbols, ...b.symbols].sort(compareNames),
      });
    }
  }
  return canonical(terms);
}

/** Product of a list: the number of elements of a shape. @throws TensorError `tensor/limit` */
export function productOfDims(dims: readonly Dim[]): Dim {
  return dims.reduce(multiplyDims, dim(1));
}

/**
 * `floor(value / divisor)` where that is a polynomial: the divisor divides every coefficient but the constant.
 * @throws TensorError `tensor/dimension` otherwise
 */
export function divideDim(value: Dim, divisor: number): Dim {
  const terms = value.terms.map(({ coefficient, symbols }) => {
    if (symbols.length > 0 && coefficient % divisor !== 0) {
      const what = `${formatDim(value)} does not divide by ${divisor}`;
      throw new TensorError({ code: "tensor/dimension", what });
    }
    return { coefficient: Math.floor(coefficient / divisor), symbols };
  });
  return canonical(terms);
}

/** The value of a polynomial that has no symbols, else undefined. */
export function constantOfDim(value: Dim): number | undefined {
  if (value.terms.length === 0) return 0;
  const [first] = value.terms;
  return value.terms.length === 1 && first!.symbols.length === 0 ? first!.coefficient : undefined;
}

/** Whether both are the same polynomial. */
export function equalDims(left: Dim, right: Dim): boolean {
  if (left === right) return true;
  if (left.terms.length !== right.terms.length) return false;
  return left.terms.every((term, i) => {
    const other = right.terms[i]!;
    return term.coefficient === other.coefficient && compareTerms(term, other) === 0;
  });
}

/** Whether two shapes are the same. */
export function equalShapes(left: readonly Dim[], right: readonly Dim[]): boolean {
  return left.length === right.length && left.every((d, i) => equalDims(d, right[i]!));
}

/** The value for given symbols. @throws TensorError `tensor/dimension` if one is missing */
export function evaluateDim(value: Dim, sizes: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const { coefficient, symbols } of value.terms) {
    let product = coefficient;
    for (const name of symbols) product *= boundOf(name, sizes);
    sum += product;
  }
  return sum;
}

/** An upper bound over all values of the symbols: the terms with a minus count as 0. */
export function maximumOfDim(value: Dim, bounds: DimBounds): number {
  return boundDim(value, bounds, 1);
}

/** A lower bound over all values of the symbols: the terms with a plus count as 0. */
export function minimumOfDim(value: Dim, bounds: DimBounds): number {
  return boundDim(value, bounds, -1);
}

/** Names of the symbols in a polynomial. */
export function symbolsOfDim(value: Dim): ReadonlySet<string> {
  return new Set(value.terms.flatMap(({ symbols }) => symbols));
}

/** Text for people: `2*batch*time + 1`. */
export function formatDim(value: Dim): string {
  if (value.terms.length === 0) return "0";
  return value.terms
    .map(({ coefficient, symbols }, i) => {
      const magnitude = Math.abs(coefficient);
      const factors = magnitude === 1 && symbols.length > 0 ? symbols : [magnitude, ...symbols];
      const sign = coefficient < 0 ? (i === 0 ? "-" : " - ") : i === 0 ? "" : " + ";
      return sign + factors.join("*");
    })
    .join("");
}

/** Whether terms are in canonical form; for decoders. */
export function isCanonicalDim(value: Dim): boolean {
  return value.terms.every(
    (term, i) =>
      term.coefficient !== 0 &&
      term.symbols.every((name, j) => j === 0 || term.symbols[j - 1]! <= name) &&
      (i === 0 || compareTerms(value.terms[i - 1]!, term) < 0),
  );
}

function boundDim(value: Dim, bounds: DimBounds, sign: 1 | -1): number {
  let sum = 0;
  for (const { coefficient, symbols } of value.terms) {
    if (symbols.length > 0 && coefficient * sign < 0) continue;
    sum += symbols.reduce((product, name) => product * boundOf(name, bounds), coefficient);
  }
  return sum;
}

function boundOf(name: string, sizes: ReadonlyMap<string, number>): number {
  const size = sizes.get(name);
  if (size !== undefined) return size;
  throw new TensorError({ code: "tensor/dimension", what: `the size ${name} is not known` });
}

function canonical(terms: readonly DimTerm[]): Dim {
  const sorted = [...terms].sort(compareTerms);
  const merged: DimTerm[] = [];
  for (const term of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && compareTerms(last, term) === 0) {
      const coefficient = last.coefficient + term.coefficient;
      merged[merged.length - 1] = { coefficient, symbols: last.symbols };
    } else merged.push(term);
  }
  const kept = merged.filter(({ coefficient }) => coefficient !== 0);
  requireLimit("terms of a dimension", kept.length, DIM_LIMITS.terms);
  for (const { coefficient, symbols } of kept) {
    requireLimit("factors of a dimension", symbols.length, DIM_LIMITS.degree);
    requireLimit("coefficient", Math.abs(coefficient), DIM_LIMITS.coefficient);
  }
  return kept.length === 0 ? ZERO : { terms: kept };
}

function requireLimit(what: string, actual: number, limit: number): void {
  if (actual > limit) throw new TensorError({ code: "tensor/limit", what, limit, actual });
}

/** Higher degree first, then by names. */
function compareTerms(left: DimTerm, right: DimTerm): number {
  if (left.symbols.length !== right.symbols.length) {
    return right.symbols.length - left.symbols.length;
  }
  for (const [i, name] of left.symbols.entries()) {
    const order = compareNames(name, right.symbols[i]!);
    if (order !== 0) return order;
  }
  return 0;
}

function compareNames(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
