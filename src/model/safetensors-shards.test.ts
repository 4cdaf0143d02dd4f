// Models in shards are the models of one file; indexes and shards that lie are refused with where; and no more
// of a file is held than a window and the tensor that is being made.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError, GyrotronError, MIB, utf8Bytes } from "gyrotron/base";
import { type ByteSource, byteSource } from "./byte-source.ts";
import { decodeHuggingFace } from "./hugging-face.ts";
import { prepareModel } from "./prepare.ts";
import { configFile, huggingFaceTensors, sampleFloats, safetensorsFile } from "./sample-files.ts";
import { ShardedTensors } from "./safetensors-shards.ts";
import { Safetensors } from "./safetensors.ts";

const NAMES = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "last"];
const MISSING = "there is no such file";

/** The sample's tensors dealt out to three files, with the index that says so. */
function dealt(): { files: Map<string, Uint8Array>; map: Record<string, string> } {
  const parts = NAMES.map(() => new Map<string, { shape: number[]; values: Float32Array }>());
  const map: Record<string, string> = {};
  for (const [i, [name, tensor]] of [...huggingFaceTensors()].entries()) {
    parts[i % parts.length]!.set(name, tensor);
    map[name] = NAMES[i % parts.length]!;
  }
  const files = new Map(NAMES.map((name, i) => [name, safetensorsFile(parts[i]!, "F16")]));
  return { files, map };
}

function indexOf(map: unknown): Uint8Array {
  return utf8Bytes(JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }));
}

function shardsOf(files: ReadonlyMap<string, Uint8Array>, index: Uint8Array): ShardsInMemory {
  const open = (name: string): ByteSource => {
    const file = files.get(name);
    if (file === undefined)
      throw new DecodeError({ code: "test/decode", what: MISSING, offset: 0 });
    return byteSource(file);
  };
  return { index, open };
}

interface ShardsInMemory {
  readonly index: Uint8Array;
  readonly open: (name: string) => ByteSource;
}

function errorOf(body: () => unknown): string {
  try {
    body();
    return "no error";
  } catch (error) {
    assert.ok(error instanceof GyrotronError, String(error));
    return error.message;
  }
}

test("shards give the model that one file gives", () => {
  const { files, map } = dealt();
  const sharded = decodeHuggingFace({
    config: configFile(),
    tensors: shardsOf(files, indexOf(map)),
  });
  const whole = decodeHuggingFace({
    config: configFile(),
    tensors: safetensorsFile(huggingFaceTensors()),
  });
  assert.deepEqual(prepareModel(sharded).identity, prepareModel(whole).identity);
});

test("indexes that lie are refused, and what is wrong with a shard is said with its name", () => {
  const { files, map } = dealt();
  const check = (changed: unknown, shards: ReadonlyMap<string, Uint8Array> = files): string =>
    errorOf(() => new ShardedTensors(shardsOf(shards, indexOf(changed))));
  assert.equal(check(map), "no error");
  const first = "model.norm.weight";
  for (const name of [
    "../secret",
    "/etc/passwd",
    "a/b",
    "",
    ".",
    "..",
    ".hidden",
    "a\0b",
    7,
    null,
  ]) {
    assert.match(
      check({ ...map, [first]: name }),
      /safetensors-index\/decode.*model\.norm\.weight/,
    );
  }
  assert.match(check({ ...map, extra: "other" }), /other: there is no such file/);
  const elsewhere = NAMES.find((name) => name !== map[first]);
  assert.match(check({ ...map, [first]: elsewhere }), /norm\.weight.*does not place there/);
  assert.match(check({ ...map, extra: "last" }), /extra is not in last/);
  const { [first]: gone, ...fewer } = map;
  assert.match(check(fewer), new RegExp(`${gone} holds model\\.norm\\.weight`));
  assert.match(check({}), /0 files/);
  assert.match(check([]), /no weight_map/);
  const many = Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`t${i}`, `f${i}`]));
  assert.match(check(many), /1025 files, 1 to 1024/);
  for (const [index, expected] of [
    [utf8Bytes("{"), /not JSON/],
    [Uint8Array.of(255), /not UTF-8/],
    [utf8Bytes("{}"), /no weight_map/],
    [new Uint8Array(16 * MIB + 1), /too long/],
  ] as const)
    assert.match(
      errorOf(() => new ShardedTensors(shardsOf(files, index))),
      expected,
    );
  const cut = new Map([...files, ["last", files.get("last")!.slice(0, -1)]]);
  assert.match(check(map, cut), /last: tensor past the end/);
});

test("fuzz: damaged indexes and shards end in a model or a named error", () => {
  const { files, map } = dealt();
  const index = indexOf(map);
  const targets = [index, ...files.values()];
  const edit = fc.record({ at: fc.nat(2500), byte: fc.nat(255) });
  let refused = 0;
  fc.assert(
    fc.property(fc.nat(3), fc.array(edit, { minLength: 1, maxLength: 4 }), (which, edits) => {
      const bytes = targets[which]!.slice();
      for (const { at, byte } of edits) if (at < bytes.length) bytes[at] = byte;
      const shards = new Map(files);
      if (which > 0) shards.set(NAMES[which - 1]!, bytes);
      const tensors = shardsOf(shards, which === 0 ? bytes : index);
      const config = configFile();
      const failed = errorOf(() => prepareModel(decodeHuggingFace({ config, tensors })));
      if (failed !== "no error") refused++;
    }),
    { seed: 11, numRuns: 300 },
  );
  assert.ok(refused > 100, `${refused} of 300 refused`);
});

test("a tensor is read by windows, and a row of a table alone", () => {
  const values = sampleFloats(3 * MIB, 5);
  const shape = [3072, 1024];
  const file = safetensorsFile(new Map([["table", { shape, values }]]), "BF16");
  let most = 0;
  const counted: ByteSource = {
    ...byteSource(file),
    read(offset, length) {
      most = Math.max(most, length);
      return file.slice(offset, offset + length);
    },
  };
  const safetensors = new Safetensors(counted);
  const tensor = safetensors.tensors.get("table")!;
  assert.deepEqual(safetensors.floats(tensor), values);
  assert.equal(most, MIB);
  most = 0;
  assert.deepEqual(safetensors.floats(tensor, 5 * 1024, 1024), values.subarray(5120, 6144));
  assert.equal(most, 2048);
});
