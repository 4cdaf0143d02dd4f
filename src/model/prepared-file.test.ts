// Prepared files: what is written is read again, to the bit and lazily; damaged ones end in a named error.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { concatBytes, DecodeError, equalBytes, present, utf8Bytes } from "gyrotron/base";
import { checkPackedMatrix, type Precision, PRECISIONS, TensorError } from "gyrotron/tensor";
import { byteSource } from "./byte-source.ts";
import {
  ggufFile,
  sampleLevelTensors,
  sampleMetadata,
  type SampleTensor,
} from "./gguf/sample-gguf.ts";
import {
  decodeGgufHeader,
  decodeGgufModel,
  decodeGgufTokenizer,
  decodePreparedFile,
  encodePreparedFile,
  modelIdentity,
  prepareModel,
  type PreparedFile,
} from "./index.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);

function sample(precision: Precision, tensors?: readonly SampleTensor[]): PreparedFile {
  const file = byteSource(ggufFile(sampleMetadata(), tensors));
  const header = decodeGgufHeader(file);
  const model = prepareModel(decodeGgufModel(file, header), precision);
  const frame = { kind: "template", source: "{{ messages[0].content }}" } as const;
  return { model, tokenizer: decodeGgufTokenizer(header), frame };
}

for (const precision of PRECISIONS) {
  test(`${precision}: a file gives back the model, its tokenizer and its frame`, () => {
    const before = sample(precision);
    const bytes = concatBytes(...encodePreparedFile(before));
    const after = decodePreparedFile(byteSource(bytes));
    assert.deepEqual(
      [after.tokenizer, after.frame, after.model.beginToken, after.model.endTokens],
      [before.tokenizer, before.frame, before.model.beginToken, before.model.endTokens],
    );
    assert.deepEqual(after.model.shape, before.model.shape);
    assert.deepEqual(after.model.identity, before.model.identity);
    assert.deepEqual(modelIdentity(after.model.weights), before.model.identity);
    assert.deepEqual(concatBytes(...encodePreparedFile(after)), bytes);
  });
}

test("levels come back as they were, rows alone too; what leaves 14 bits is refused", () => {
  const before = sample("w8a14", sampleLevelTensors());
  const bytes = concatBytes(...encodePreparedFile(before));
  const after = decodePreparedFile(byteSource(bytes));
  assert.deepEqual(modelIdentity(after.model.weights), before.model.identity);
  assert.notDeepEqual(before.model.identity, sample("w8a14").model.identity);
  assert.deepEqual(concatBytes(...encodePreparedFile(after)), bytes);
  const [was, up] = [before.model.weights.layers[0]!.up, after.model.weights.layers[0]!.up];
  assert.deepEqual(
    [up.bits, up.blockScales, up.blockOffsets],
    [4, was.blockScales, was.blockOffsets],
  );
  const rows = new Uint8Array(up.inputs);
  present(up.readRows)(3, rows);
  assert.deepEqual(rows, was.mantissas.subarray(1.5 * up.inputs, 2.5 * up.inputs));
  checkPackedMatrix(up);
  // The largest offset that there is: with any step above it too large. The gate has the same blocks and comes first.
  const offsets = bytesOf(was.blockOffsets!);
  const at = bytes.findIndex((_, i) => i % 64 === 0 && startsWith(bytes, i, offsets));
  const damaged = bytes.slice();
  damaged.set([0xff, 0x1f], at);
  const { model } = decodePreparedFile(byteSource(damaged));
  assert.throws(() => checkPackedMatrix(present(model.weights.layers[0]!.gate)), TensorError);
});

test("weights are read when they are asked for, and only those", () => {
  const bytes = concatBytes(...encodePreparedFile(sample("w8a14")));
  let most = 0;
  const counted = {
    ...byteSource(bytes),
    read(offset: number, length: number) {
      most = Math.max(most, length);
      return bytes.slice(offset, offset + length);
    },
  };
  const { weights } = decodePreparedFile(counted).model;
  most = 0;
  const { up } = weights.layers[1]!;
  const rows = new Int8Array(2 * up.inputs);
  present(up.readRows)(3, new Uint8Array(rows.buffer));
  assert.ok(most < up.mantissas.byteLength, "rows alone");
  assert.equal(most, up.mantissas.byteLength);
  assert.deepEqual(rows, up.mantissas.subarray(3 * up.inputs, 5 * up.inputs));
  assert.equal(up.mantissas, up.mantissas);
  assert.notEqual(weights.layers[1]!.up.mantissas, up.mantissas);
});

test("damaged files end in a named error, or in a model of another identity", () => {
  const before = sample("w8a8");
  const file = concatBytes(...encodePreparedFile(before));
  const read = (bytes: Uint8Array): string => {
    try {
      const { model } = decodePreparedFile(byteSource(bytes));
      const isSame = equalBytes(modelIdentity(model.weights), before.model.identity);
      return isSame ? "same" : "other";
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
      return error.message;
    }
  };
  assert.equal(read(file), "same");
  assert.match(read(utf8Bytes("gyrotron printed 2\n...")), /no prepared model/);
  assert.match(read(utf8Bytes("gyrotron prepared 2\n...")), /by another version: add the model/);
  assert.match(read(file.subarray(0, 22)), /cut off/);
  assert.match(read(file.subarray(0, 25)), /header length out of range/);
  assert.match(read(file.subarray(0, -64)), /bytes expected/);
  assert.match(read(concatBytes(file, new Uint8Array(64))), /bytes expected/);
  const edit = fc.record({ at: fc.nat(file.length - 1), byte: fc.nat(255) });
  let refused = 0;
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const bytes = file.slice();
      for (const { at, byte } of edits) bytes[at] = byte;
      if (read(bytes) !== "same") refused++;
    }),
    { seed, numRuns: 400 },
  );
  assert.ok(refused > 200, `${refused} of 400 noticed`);
});

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function startsWith(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  return equalBytes(bytes.subarray(at, at + part.length), part);
}
