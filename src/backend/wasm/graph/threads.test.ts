// Goal: programs that have nothing to do, or end with what needs no barrier, leave no helper behind that would
// take the next program for its own. Method: many short runs one after the other, each checked.

import { deepEqual } from "node:assert/strict";
import test from "node:test";
import type { HostTensor } from "gyrotron/tensor";
import { f32Type, graphCase, list } from "../../graph-cases/draft.ts";
import { createWasmBackend } from "../../index.ts";

test("runs without records between runs with records", async () => {
  const alias = graphCase("alias", (d) => {
    d.reshape(
      d.f32(
        [2, 3],
        list(6, (i) => i),
      ),
      [6],
    );
  });
  const joined = graphCase("joined", (d) => {
    const parts = [
      d.f32(
        [3, 2],
        list(6, (i) => i),
      ),
      d.f32([0, 2], []),
    ];
    d.node({ op: "concat", axis: 0 }, parts, f32Type([3, 2]));
  });
  const sums = graphCase("sums", (d) => {
    const x = d.f32(
      [64, 9],
      list(576, (i) => i % 7),
    );
    d.node({ op: "sum", bits: 24 }, [d.like({ op: "add" }, x, x)], f32Type([64]));
  });
  const backend = await createWasmBackend({ threads: 4, schedule: 5 });
  const outputOf = async ({ graph, inputs }: typeof alias): Promise<readonly number[]> => {
    const result = await backend.runGraph(graph, inputs);
    const [value] = Object.values((result as { outputs: Record<string, HostTensor> }).outputs);
    return Array.from(value!.data as Float32Array);
  };
  const expected = await outputOf(sums);
  for (let i = 0; i < 3000; i++) {
    deepEqual(await outputOf(alias), [0, 1, 2, 3, 4, 5]);
    deepEqual(await outputOf(joined), [0, 1, 2, 3, 4, 5]);
    deepEqual(await outputOf(sums), expected);
  }
  await backend.close();
});
