// Goal: the kernels of norms and of the variance give the bits of the definition at every length of the tail behind
// whole rounds, for rows that follow each other, and for magnitudes from subnormals to the largest.
// Method: values drawn by length and magnitude, three rows at a time, against numerics.

import { deepEqual } from "node:assert/strict";
import { after, test } from "node:test";
import { layerNormRow, rmsNormRow, varianceRow } from "gyrotron/numerics";
import { f32, GraphBuilder, hostF32, runGraph } from "gyrotron/tensor";
import { CaseValues } from "../../case-values.ts";
import { createWasmBackend } from "../../index.ts";

const ROWS = 3;
/** Without epsilon the grid may be as fine as subnormals are. */
const EPSILONS = [0, 2 ** -20];
const LENGTHS = [...Array.from({ length: 50 }, (_, i) => i + 1), 1000, 1024];

const backend = await createWasmBackend({ fill: 0xa5 });
after(() => backend.close());

const KINDS: Readonly<Record<string, (values: CaseValues, length: number) => Float32Array>> = {
  ordinary: (values, length) => values.moderate(length),
  subnormal: (values, length) => values.spread(length, 0, 0),
  tiny: (values, length) => values.spread(length, 0, 14),
  large: (values, length) => values.spread(length, 240, 254),
  wild: (values, length) => values.wild(length),
  ties: (values, length) => values.ties(length, -3),
  "first row 0": (values, length) => values.moderate(length).fill(0, 0, length / ROWS),
  equal: (_, length) => new Float32Array(length).fill(1 / 3),
};

for (const [kind, draw] of Object.entries(KINDS)) {
  test(`norms and variance of rows, ${kind}`, async () => {
    for (const columns of LENGTHS) {
      const data = draw(new CaseValues(`${kind} ${columns}`), ROWS * columns);
      const g = new GraphBuilder();
      const x = g.input("x", f32(ROWS, columns));
      for (const epsilon of EPSILONS) {
        g.output(`rms.${epsilon}`, g.rmsNorm(x, { epsilon }));
        g.output(`layer.${epsilon}`, g.layerNorm(x, { epsilon }));
      }
      // Of moderate values: the variance of others need not be finite.
      const moderate = g.rmsNorm(x, { epsilon: 0 });
      g.output("moderate", moderate);
      g.output("variance", g.variance(moderate, { axis: -1 }));
      const found = await runGraph(backend, g.build(), { x: hostF32([ROWS, columns], data) });
      const valuesOf = (name: string): number[] => Array.from(found[name]!.data, Number);
      const rowsOf = (values: readonly number[]): number[][] =>
        Array.from({ length: ROWS }, (_, r) => values.slice(r * columns, (r + 1) * columns));
      const rows = rowsOf([...data]);
      for (const epsilon of EPSILONS) {
        const rms = rows.flatMap((row) => rmsNormRow(row, epsilon));
        deepEqual(valuesOf(`rms.${epsilon}`), rms, `rms norm of ${columns}, ${epsilon}`);
        const layer = rows.flatMap((row) => layerNormRow(row, epsilon));
        deepEqual(valuesOf(`layer.${epsilon}`), layer, `layer norm of ${columns}, ${epsilon}`);
      }
      const variances = rowsOf(valuesOf("moderate")).map(varianceRow);
      deepEqual(valuesOf("variance"), variances, `variance of ${columns}`);
    }
  });
}
