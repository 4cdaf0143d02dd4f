// Conformance cases of counter-based randomness: words, dropout, sampling.

import { f32Type, graphCase, type GraphCase, i32Type, list } from "./draft.ts";

/** Cases of random ops; `full` adds sizes. */
export function randomCases(full: boolean): GraphCase[] {
  return [
    graphCase("random/bits", (d) => {
      for (const key of [
        [0, 0, 0, 0],
        [1, -1, 7, 3],
        [-559038737, 123456789, 2, 1],
      ]) {
        const words = d.i32([4], key);
        for (const shape of [[1], [3, 5], [2, 0], [], [130]]) {
          d.node({ op: "random-bits" }, [words], i32Type(shape));
        }
      }
    }),
    graphCase("random/dropout", (d) => {
      const key = d.i32([4], [5, 6, 7, 8]);
      for (const keep of [1, 2, 21111, 32768, 45001, 52429, 65535, 65536]) {
        d.like({ op: "dropout", keep }, d.f32([5, 13]), key);
      }
      d.like({ op: "dropout", keep: 39321 }, d.f32([6, 7], d.draw.ties(42, -149)), key);
      d.like({ op: "dropout", keep: 3 }, d.f32([4, 33], d.draw.spread(132, 1, 200)), key);
      d.like({ op: "dropout", keep: 9 }, d.f32([0, 3], []), key);
    }),
    graphCase("random/sample", (d) => {
      const rules = [
        { temperature: 0, topK: 0, topP: 65536 },
        { temperature: 65536, topK: 0, topP: 65536 },
        { temperature: 45875, topK: 5, topP: 65536 },
        { temperature: 65536, topK: 0, topP: 58982 },
        { temperature: 131072, topK: 7, topP: 30000 },
        { temperature: 1, topK: 3, topP: 1 },
        { temperature: 2 ** 20, topK: 0, topP: 65536 },
      ];
      const rows = full ? 60 : 12;
      const flat = list(rows * 20, (i) => ((i * 31) % 7) / 2);
      const inputs = [
        d.f32([rows, 20], flat),
        d.f32([rows, 33]),
        d.f32([rows, 1]),
        d.f32([rows, 9], d.draw.wild(rows * 9)),
      ];
      const keys = d.i32(
        [rows, 4],
        list(rows * 4, () => d.draw.u32() | 0),
      );
      for (const rule of rules) {
        for (const logits of inputs) {
          d.node({ op: "sample", ...rule }, [logits, keys], i32Type([rows]));
        }
      }
      // Equal weights: candidates are taken by rising index, whatever a sort does.
      const equal = d.f32(
        [rows, 40],
        list(rows * 40, () => 1.25),
      );
      d.node(
        { op: "sample", temperature: 65536, topK: 11, topP: 40000 },
        [equal, keys],
        i32Type([rows]),
      );
    }),
    graphCase("random/mask", (d) => {
      // What the graph itself makes of the words.
      const words = d.node({ op: "random-bits" }, [d.i32([4], [9, 8, 7, 6])], i32Type([4, 9]));
      const real = d.node({ op: "convert" }, [words], f32Type([4, 9]));
      d.like({ op: "mul" }, real, d.f32([4, 9]));
    }),
  ];
}
