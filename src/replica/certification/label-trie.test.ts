// The tree against a plain model: contents, order of labels, independence from history, persistence,
// and witnesses as the clients' SDK reads them.

import { deepEqual, equal, notDeepEqual } from "node:assert/strict";
import { test } from "node:test";
import {
  type HashTree as SdkTree,
  LookupPathStatus,
  lookup_path as sdkLookup,
} from "@icp-sdk/core/agent";
import fc from "fast-check";
import { compareBytes, utf8Bytes } from "gyrotron/base";
import {
  EMPTY_TREE_HASH,
  hashFork,
  hashLabeled,
  hashLeaf,
  hashOfTree,
  lookupPath,
  lookupSubtree,
  revealedLabels,
} from "./hash-tree.ts";
import {
  createLeaf,
  createLevel,
  EMPTY_LEVEL,
  entriesOf,
  getTree,
  type Level,
  neighbours,
  treeHash,
  withoutTree,
  withTree,
} from "./label-trie.ts";
import { createWitness } from "./witness.ts";

const seed = 11;
const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);

/** Few distinct bytes and short lengths: many shared prefixes and labels that are prefixes of others. */
const label = fc
  .array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { maxLength: 4 })
  .map((bytes) => Uint8Array.from(bytes));
const labels = fc.uniqueArray(label, { maxLength: 24, selector: (bytes) => bytes.toHex() });
const step = fc.record({
  path: fc.tuple(label, label),
  value: fc.option(fc.nat(255), { nil: undefined }),
});

function levelOf(keys: readonly Uint8Array[]): Level {
  return createLevel(keys.map((key) => [key, createLeaf(key)]));
}

test("the root depends on the entries only, not on the order or history of changes", () => {
  fc.assert(
    fc.property(labels, labels, fc.nat(), (kept, removed, rotation) => {
      const rotated = kept.map((_, index) => kept[(index + rotation) % kept.length]!);
      let level = levelOf(rotated);
      const extra = removed.filter((one) => !kept.some((other) => compareBytes(one, other) === 0));
      for (const key of extra) level = withTree(level, [key], createLeaf(key));
      for (const key of kept) level = withTree(level, [key], createLeaf(Uint8Array.of(9)));
      for (const key of extra.toReversed()) level = withoutTree(level, [key]);
      for (const key of kept) level = withTree(level, [key], createLeaf(key));
      deepEqual(treeHash(level), treeHash(levelOf(kept)));
      deepEqual(
        [...entriesOf(level.root)].map((entry) => entry.label),
        kept.toSorted(compareBytes),
      );
    }),
    { seed, numRuns: 300 },
  );
});

test("two levels follow a model of maps, and old versions stay as they were", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const model = new Map<string, number>();
      let level: Level = EMPTY_LEVEL;
      for (const { path, value } of steps) {
        const before = level;
        const beforeHash = treeHash(before);
        const key = path.map((part) => part.toHex()).join("/");
        if (value === undefined) {
          level = getTree(level, path) === undefined ? level : withoutTree(level, path);
          model.delete(key);
        } else {
          level = withTree(level, path, createLeaf(Uint8Array.of(value)));
          model.set(key, value);
        }
        deepEqual(
          treeHash(
            createLevel([...entriesOf(before.root)].map((entry) => [entry.label, entry.child])),
          ),
          beforeHash,
        );
        const leaf = getTree(level, path);
        equal(leaf?.kind === "leaf" ? leaf.value[0] : undefined, value);
      }
      for (const [key, value] of model) {
        const leaf = getTree(level, key.split("/").map(hex));
        equal(leaf?.kind === "leaf" && leaf.value[0] === value, true);
      }
    }),
    { seed, numRuns: 200 },
  );
});

test("the specification's examples have their hashes", () => {
  const examples: [string[], string][] = [
    [[], "4e3ed35c4e2d1ee89996483fb6260a64cffb6c47dbab216e7930e82f8190d120"],
    [["a"], "559d7d7ff266b784cb1b6c53ddd86f05704923d5e4f336458eaa7427d07b2c90"],
    [["", "a"], "8ecce80e0d789be12d33289a6fc7a4e0e75d4cf1c656718fc28fafbdab9433f8"],
    [["a", "ab", "b"], "b0b0f1d341f1c9027c982bc4e18870854e2dbddfd005a32a6e1dba1f1c201921"],
  ];
  for (const [texts, hash] of examples)
    equal(treeHash(levelOf(texts.map(utf8Bytes))).toHex(), hash);
  // The third, by hand: the empty label's bits begin with 0, those of "a" with 1.
  const entry = (text: string) => hashLabeled(utf8Bytes(text), hashLeaf(utf8Bytes(text)));
  equal(hashFork(entry(""), entry("a")).toHex(), examples[2]![1]);
});

test("neighbours are the labels next to an absent one", () => {
  fc.assert(
    fc.property(labels, label, (keys, wanted) => {
      fc.pre(!keys.some((key) => compareBytes(key, wanted) === 0));
      const sorted = keys.toSorted(compareBytes);
      const before = sorted.filter((key) => compareBytes(key, wanted) < 0).slice(-1);
      const after = sorted.filter((key) => compareBytes(key, wanted) > 0).slice(0, 1);
      deepEqual(
        neighbours(levelOf(keys).root, wanted).map((entry) => entry.label),
        [...before, ...after],
      );
    }),
    { seed, numRuns: 300 },
  );
});

test("a witness keeps the root, shows what was asked, proves absence, and hides the rest", () => {
  fc.assert(
    fc.property(labels, labels, fc.array(label, { maxLength: 4 }), (keys, asked, inner) => {
      const innerLevel = levelOf(
        inner.filter((one, at) => inner.findIndex((two) => compareBytes(one, two) === 0) === at),
      );
      let level = levelOf(keys);
      level = withTree(level, [hex("aaaa")], innerLevel);
      const paths = [
        ...asked.map((key) => [key]),
        ...inner.map((key) => [hex("aaaa"), key]),
        [hex("aaaa"), hex("bb")],
      ];
      const witness = createWitness(level, paths);
      deepEqual(hashOfTree(witness), treeHash(level));
      for (const path of paths) {
        const node = getTree(level, path);
        const expected =
          node?.kind === "leaf" ? { kind: "found", value: node.value } : { kind: "absent" };
        deepEqual(lookupPath(witness, path), expected);
      }
      const shown = new Set(paths.map((path) => path[0]!.toHex()));
      for (const key of keys) {
        const found = lookupPath(witness, [key]);
        if (!shown.has(key.toHex())) equal(found.kind, "unknown", "a leaf that nobody asked for");
      }
      const visible = revealedLabels(witness);
      deepEqual(visible, visible.toSorted(compareBytes));
    }),
    { seed, numRuns: 300 },
  );
});

test("the clients' SDK finds in a witness what is there and nothing else", () => {
  // Labels of one length: the SDK misorders labels that are prefixes of one another.
  const pair = fc.uint8Array({ minLength: 2, maxLength: 2 });
  const pairs = fc.uniqueArray(pair, { maxLength: 24, selector: (bytes) => bytes.toHex() });
  fc.assert(
    fc.property(pairs, pairs, (keys, others) => {
      const witness = createWitness(
        levelOf(keys),
        [...keys.slice(0, 5), ...others].map((key) => [key]),
      );
      for (const key of [...keys.slice(0, 5), ...others]) {
        const found = sdkLookup([key], witness as unknown as SdkTree);
        const isPresent = keys.some((one) => compareBytes(one, key) === 0);
        equal(found.status === LookupPathStatus.Found, isPresent);
        if (found.status === LookupPathStatus.Found) deepEqual(found.value, key);
      }
    }),
    { seed, numRuns: 200 },
  );
});

test("a path to a level reveals all of it; the empty path reveals everything", () => {
  const level = withTree(
    levelOf([hex("01"), hex("02")]),
    [hex("03"), hex("04")],
    createLeaf(hex("05")),
  );
  const part = createWitness(level, [[hex("03")]]);
  deepEqual(lookupPath(part, [hex("03"), hex("04")]), { kind: "found", value: hex("05") });
  deepEqual(lookupPath(part, [hex("03"), hex("06")]), { kind: "absent" });
  deepEqual(lookupPath(part, [hex("01")]), { kind: "unknown" });
  const all = createWitness(level, [[]]);
  deepEqual(lookupPath(all, [hex("01")]), { kind: "found", value: hex("01") });
  deepEqual(lookupSubtree(createWitness(level, []), [hex("01")]), { kind: "unknown" });
});

test("an empty level hashes and proves as empty", () => {
  deepEqual(treeHash(EMPTY_LEVEL), EMPTY_TREE_HASH);
  deepEqual(createWitness(EMPTY_LEVEL, [[hex("01")]]), [0]);
  const level = withoutTree(withTree(EMPTY_LEVEL, [hex("01"), hex("02")], createLeaf(hex("03"))), [
    hex("01"),
    hex("02"),
  ]);
  deepEqual(lookupPath(createWitness(level, [[hex("01"), hex("02")]]), [hex("01"), hex("02")]), {
    kind: "absent",
  });
  notDeepEqual(treeHash(level), treeHash(EMPTY_LEVEL));
});

test("the work of one change and one witness grows with the logarithm", () => {
  const key = (index: number): Uint8Array =>
    Uint8Array.of(index >> 8, (index * 167) & 255, index & 255);
  let level: Level = EMPTY_LEVEL;
  for (let i = 0; i < 4096; i++) level = withTree(level, [key(i)], createLeaf(key(i)));
  treeHash(level);
  level = withTree(level, [key(77)], createLeaf(hex("00")));
  let unhashed = 0;
  const count = (node: Level["root"]): void => {
    if (node === undefined || node.hash !== undefined) return;
    unhashed++;
    if (node.kind === "fork") {
      count(node.left);
      count(node.right);
    }
  };
  count(level.root);
  equal(unhashed <= 25, true, `${unhashed} nodes to hash again`);
  const witness = createWitness(level, [[key(99)]]);
  equal(JSON.stringify(witness).split("[4,").length < 30, true);
  deepEqual(hashOfTree(witness), treeHash(level));
});
