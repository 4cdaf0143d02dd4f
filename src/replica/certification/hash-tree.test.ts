// Hash trees as they travel: the interface's example, lookups, and malformed trees.

import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "gyrotron/base";
import { encodeCbor } from "gyrotron/crypto";
import {
  decodeHashTree,
  encodeHashTree,
  type HashTree,
  hashOfTree,
  lookupPath,
  lookupSubtree,
  treePath,
} from "./hash-tree.ts";

const EXAMPLE =
  "8301830183024161830183018302417882034568656c6c6f810083024179820345776f726c6483024162820344676f6f648301830241638100830241648203476d6f726e696e67";
const EXAMPLE_ROOT = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0";

test("the interface's example has its root and its values", () => {
  const tree = decodeHashTree(Uint8Array.fromHex(EXAMPLE));
  equal(hashOfTree(tree).toHex(), EXAMPLE_ROOT);
  equal(encodeHashTree(tree).toHex(), `d9d9f7${EXAMPLE}`);
  deepEqual(lookupPath(tree, treePath("a", "x")), { kind: "found", value: treePath("hello")[0] });
  deepEqual(lookupPath(tree, treePath("d")), { kind: "found", value: treePath("morning")[0] });
  deepEqual(lookupPath(tree, treePath("a", "z")), { kind: "absent" });
  deepEqual(lookupPath(tree, treePath("c")), { kind: "absent" });
  deepEqual(lookupPath(tree, treePath("a")), { kind: "error" });
  deepEqual(lookupPath(tree, treePath("d", "deeper")), { kind: "absent" });
});

test("what pruned parts might hide is unknown, what neighbours exclude is absent", () => {
  const pruned: HashTree = [4, new Uint8Array(32)];
  const node = (label: string): HashTree => [2, treePath(label)[0]!, [3, treePath(label)[0]!]];
  const tree: HashTree = [1, [1, node("b"), pruned], [1, node("f"), node("h")]];
  const kinds = ["a", "b", "c", "f", "g", "h", "i"].map(
    (label) => lookupPath(tree, treePath(label)).kind,
  );
  deepEqual(kinds, ["absent", "found", "unknown", "found", "absent", "found", "absent"]);
  equal(lookupPath([1, node("b"), pruned], treePath("z")).kind, "unknown");
  equal(lookupPath([1, pruned, node("b")], treePath("a")).kind, "unknown");
  equal(lookupPath(pruned, []).kind, "unknown");
  equal(lookupSubtree([0], treePath("a")).kind, "absent");
  equal(lookupPath([0], []).kind, "absent");
});

const MALFORMED: readonly (readonly [string, Parameters<typeof encodeCbor>[0]])[] = [
  ["a number", 1],
  ["an empty array", []],
  ["an unknown kind", [5, new Uint8Array(32)]],
  ["a fork with one side", [1, [0]]],
  ["an empty node with content", [0, [0]]],
  ["a text label", [2, "a", [0]]],
  ["a leaf without value", [3]],
  ["a text leaf", [3, "a"]],
  ["a short hash", [4, new Uint8Array(31)]],
  ["a map inside", [1, [0], { a: 1 }]],
  ["a kind that is not a number", ["1", [0], [0]]],
];

for (const [name, value] of MALFORMED) {
  test(`refuses ${name}`, () => {
    throws(() => decodeHashTree(encodeCbor(value)), DecodeError);
  });
}

test("depth has a limit that is safe for the stack", () => {
  const chain = (depth: number): Uint8Array => {
    const head = "830241610000".slice(0, 8);
    return Uint8Array.fromHex(head.repeat(depth) + "8100");
  };
  equal(hashOfTree(decodeHashTree(chain(500))).length, 32);
  throws(() => decodeHashTree(chain(100_000)), DecodeError);
});

test("any bytes give a tree or a DecodeError, and every tree can be hashed and looked through (fuzz, smoke)", () => {
  const edit = fc.record({
    at: fc.nat({ max: EXAMPLE.length / 2 }),
    drop: fc.nat({ max: 3 }),
    insert: fc.uint8Array({ maxLength: 3 }),
  });
  const hostile = fc
    .array(edit, { minLength: 1, maxLength: 3 })
    .map((edits) =>
      edits.reduce(
        (bytes, { at, drop, insert }) =>
          Uint8Array.from([...bytes.subarray(0, at), ...insert, ...bytes.subarray(at + drop)]),
        Uint8Array.fromHex(EXAMPLE),
      ),
    );
  let trees = 0;
  fc.assert(
    fc.property(hostile, (bytes) => {
      let tree: HashTree;
      try {
        tree = decodeHashTree(bytes);
      } catch (error) {
        if (error instanceof DecodeError) return;
        throw error;
      }
      trees++;
      const root = hashOfTree(tree).toHex();
      equal(hashOfTree(decodeHashTree(encodeHashTree(tree))).toHex(), root);
      for (const path of [treePath("a", "x"), treePath("d"), treePath("b", "y", "z"), []])
        match(lookupPath(tree, path).kind, /^(found|absent|unknown|error)$/);
    }),
    { seed: 3, numRuns: 4_000 },
  );
  ok(trees > 50, `${trees} trees`);
});

test("what a tree proves absent or found stays so when other parts are pruned", () => {
  const tree = decodeHashTree(Uint8Array.fromHex(EXAMPLE));
  const root = hashOfTree(tree).toHex();
  const paths = ["a", "b", "c", "d", "e"].flatMap((label) => [
    treePath(label),
    treePath(label, "x"),
    treePath(label, "y"),
  ]);
  for (const pruned of prunings(tree)) {
    equal(hashOfTree(pruned).toHex(), root);
    for (const path of paths) {
      const [whole, part] = [lookupPath(tree, path), lookupPath(pruned, path)];
      if (part.kind !== "unknown") deepEqual(part, whole);
    }
  }
});

/** The tree with one node pruned, for every node. */
function* prunings(tree: HashTree): Generator<HashTree> {
  yield [4, hashOfTree(tree)];
  if (tree[0] === 1) {
    for (const left of prunings(tree[1])) yield [1, left, tree[2]];
    for (const right of prunings(tree[2])) yield [1, tree[1], right];
  }
  if (tree[0] === 2) for (const inner of prunings(tree[2])) yield [2, tree[1], inner];
}
