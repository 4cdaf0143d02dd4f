// What a person hears of a device that cannot run a model, and of an oracle that takes long.

import assert from "node:assert/strict";
import test from "node:test";
import { TensorError, type TensorErrorInfo } from "gyrotron/tensor";
import { explainError } from "./explain-error.ts";
import { checkOracleTime, onDevice } from "./local-backend.ts";

const elsewhere = "--backend wasm gives the same bits";
const cases: readonly [TensorErrorInfo, string][] = [
  [
    { code: "tensor/device-memory", backend: "webgpu", what: "storage buffer of 4096 bytes" },
    `the webgpu device has no memory left (storage buffer of 4096 bytes); ${elsewhere}`,
  ],
  [
    { code: "tensor/device-lost", backend: "webgpu", reason: "driver reset" },
    `the webgpu device is gone (driver reset); ${elsewhere}`,
  ],
  [
    { code: "tensor/limit", what: "buffer bytes", limit: 1024, actual: 4096 },
    "it needs 4096 buffer bytes, and the device takes 1024",
  ],
  [
    { code: "tensor/unsupported", backend: "webgpu", what: "heads of 96" },
    "the webgpu backend does not do this: heads of 96",
  ],
];

for (const [info, reason] of cases) {
  test(`${info.code} is a reason why the model cannot run there`, async () => {
    const failed = onDevice("tiny", () => Promise.reject(new TensorError(info)));
    const error = await failed.then(assert.fail, (caught: unknown) => caught);
    assert.equal(explainError(error), `cannot use the model tiny: ${reason}`);
  });
}

test("what is no device's failure passes", async () => {
  const other = new TensorError({ code: "tensor/closed", what: "decoder" });
  await assert.rejects(
    onDevice("tiny", () => Promise.reject(other)),
    other,
  );
  assert.equal(await onDevice("tiny", () => Promise.resolve(7)), 7);
});

test("the oracle takes a job of seconds, and refuses one of hours", () => {
  checkOracleTime(10_000_000n, "run");
  assert.throws(() => checkOracleTime(40_000_000_000n, "run"), /may take 2\.8 hours.*wasm/);
});
