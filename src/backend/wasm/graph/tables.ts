// The tables of functions in device memory (docs/spec/01-numerics.md section 15), each computed when the first
// graph needs it. Offsets are those of kernels/graph-record.as.ts.

import {
  erfTable,
  logCurveTable,
  logTable,
  tailTable,
  tailTanhTable,
  tanhTable,
} from "gyrotron/numerics";
import type { OpKind, ResolvedGraph } from "gyrotron/tensor";
import type { WasmDevice } from "../device.ts";

interface Table {
  readonly offset: number;
  readonly values: () => Int32Array;
  readonly ops: readonly OpKind[];
}

const LOG_OPS: readonly OpKind[] = ["log", "log-softmax", "cross-entropy"];

const TABLES: readonly Table[] = [
  { offset: 0, values: tanhTable, ops: ["tanh"] },
  { offset: 4100, values: erfTable, ops: ["erf"] },
  { offset: 8200, values: tailTable, ops: ["gelu"] },
  { offset: 12300, values: tailTanhTable, ops: ["gelu-tanh"] },
  { offset: 16400, values: logTable, ops: LOG_OPS },
  { offset: 17428, values: logCurveTable, ops: LOG_OPS },
];

const TABLES_BYTES = 18452;

/** Tables of one device. */
export class FunctionTables {
  readonly #device: WasmDevice;
  readonly #present: Set<Table> = new Set();
  #address: number | undefined;

  constructor(device: WasmDevice) {
    this.#device = device;
  }

  /** Sees to the tables that a graph's ops use. To be called while no run's memory is in use. */
  provide(graph: ResolvedGraph): void {
    const ops = new Set(graph.nodes.map(({ op }) => op));
    for (const table of TABLES) {
      if (this.#present.has(table) || !table.ops.some((op) => ops.has(op))) continue;
      this.#device.write(this.#place() + table.offset, table.values());
      this.#present.add(table);
    }
  }

  #place(): number {
    if (this.#address === undefined) {
      this.#address = this.#device.allocate(TABLES_BYTES);
      this.#device.setWord(this.#device.control("tables"), this.#address);
    }
    return this.#address;
  }
}
