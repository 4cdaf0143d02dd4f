// The views of a text keep its offsets and blank just what they say.

import { equal } from "node:assert/strict";
import { test } from "node:test";
import { codeOnly, withoutComments } from "./source-tree.ts";

const cases: readonly [string, string, string, string][] = [
  ["line comment", "a // b\nc", "a     \nc", "a     \nc"],
  ["block comment over lines", "a /* b\nc */ d", "a     \n     d", "a     \n     d"],
  ["string with a comment in it", 'x("//y") z', 'x("//y") z', "x(     ) z"],
  ["escaped quote", String.raw`x("a\"b") y`, String.raw`x("a\"b") y`, "x(      ) y"],
  ["template with code", "`a${b}c` d", "`a${b}c` d", "    b    d"],
  ["template in a template", "`a${`b${c}`}d` e", "`a${`b${c}`}d` e", "        c      e"],
  ["braces inside a template", "`${f({})}x` y", "`${f({})}x` y", "   f({})    y"],
  ["regular expression", 'a = /[/"]/g; b', 'a = /[/"]/g; b', "a =       g; b"],
  ["division", "a / b / c", "a / b / c", "a / b / c"],
];

for (const [name, text, uncommented, code] of cases) {
  test(`views: ${name}`, () => {
    equal(withoutComments(text), uncommented);
    equal(codeOnly(text), code);
  });
}
