// Sizes: canonical polynomials obey the laws of arithmetic, and bounds hold for every value.

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  addDims,
  constantOfDim,
  dim,
  dimOfSymbol,
  divideDim,
  type Dim,
  equalDims,
  evaluateDim,
  formatDim,
  isCanonicalDim,
  maximumOfDim,
  minimumOfDim,
  multiplyDims,
  subtractDims,
} from "./dimension.ts";

const bounds = new Map([
  ["a", 5],
  ["b", 7],
  ["c", 1],
]);

const polynomial: fc.Arbitrary<Dim> = fc
  .array(fc.tuple(fc.integer({ min: -9, max: 9 }), fc.subarray(["a", "b", "c"])), { maxLength: 4 })
  .map((terms) =>
    terms.reduce((sum, [coefficient, names]) => {
      const product = names.reduce(
        (p, name) => multiplyDims(p, dimOfSymbol(name)),
        dim(coefficient),
      );
      return addDims(sum, product);
    }, dim(0)),
  );

const sizes = fc
  .tuple(fc.nat(5), fc.nat(7), fc.nat(1))
  .map(([a, b, c]) => new Map(Object.entries({ a, b, c })));

test("sums and products are those of the values, and equal polynomials are equal data", () => {
  fc.assert(
    fc.property(polynomial, polynomial, sizes, (x, y, at) => {
      const value = (d: Dim): number => evaluateDim(d, at);
      equal(value(addDims(x, y)), value(x) + value(y));
      equal(value(multiplyDims(x, y)), value(x) * value(y) + 0);
      ok(isCanonicalDim(addDims(x, y)) && isCanonicalDim(multiplyDims(x, y)));
      deepEqual(multiplyDims(x, y), multiplyDims(y, x));
      deepEqual(subtractDims(addDims(x, y), y), x);
      ok(value(x) <= maximumOfDim(x, bounds) && value(x) >= minimumOfDim(x, bounds));
    }),
  );
});

test("a quotient is the floor where it is a polynomial", () => {
  const n = dimOfSymbol("a");
  deepEqual(divideDim(addDims(multiplyDims(n, 6), -5), 3), addDims(multiplyDims(n, 2), -2));
  deepEqual(divideDim(dim(7), 2), dim(3));
  throws(() => divideDim(multiplyDims(n, 3), 2), /tensor\/dimension .*does not divide/);
});

test("text, constants and equality", () => {
  const a = dimOfSymbol("a");
  const b = dimOfSymbol("b");
  equal(
    formatDim(subtractDims(multiplyDims(multiplyDims(b, a), 2), addDims(a, 1))),
    "2*a*b - a - 1",
  );
  equal(formatDim(dim(0)), "0");
  equal(formatDim(multiplyDims(a, -1)), "-a");
  equal(constantOfDim(dim(-3)), -3);
  equal(constantOfDim(a), undefined);
  ok(!equalDims(a, b) && equalDims(addDims(a, b), addDims(b, a)));
});

test("what is no integer, unknown or too long is refused", () => {
  throws(() => dim(0.5), /tensor\/dimension .*not an integer/);
  throws(() => evaluateDim(dimOfSymbol("z"), bounds), /tensor\/dimension .*z is not known/);
  let power = dimOfSymbol("a");
  throws(() => {
    for (let i = 0; i < 20; i++) power = multiplyDims(power, dimOfSymbol("a"));
  }, /tensor\/limit .*factors of a dimension/);
  let sum: Dim = dim(0);
  throws(() => {
    for (let i = 0; i < 100; i++) sum = addDims(sum, dimOfSymbol(`s${i}`));
  }, /tensor\/limit .*terms of a dimension/);
  const large = dim(2 ** 50);
  throws(() => multiplyDims(large, large), /tensor\/limit .*coefficient/);
});
