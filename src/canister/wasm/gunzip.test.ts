// Goal: the portable decompressor agrees with zlib, and ends in a WasmError on anything damaged.
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { constants, deflateRawSync, gunzipSync, gzipSync } from "node:zlib";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { WasmError } from "./error.ts";
import { gunzip } from "./gunzip.ts";
import { createRandom } from "./module.fuzz.ts";

const SIZE_MAX = 10_000_000;

function sample(seed: number, length: number, symbols: number): Uint8Array {
  const random = createRandom(seed);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    const back = random(40) === 0 ? random(i + 1) : 0;
    bytes[i] = back > 0 ? bytes[i - back]! : random(symbols);
  }
  return bytes;
}

test("agrees with zlib at every level and strategy", () => {
  const strategies = [
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FIXED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
  ];
  for (const [length, symbols] of [
    [0, 1],
    [1, 1],
    [300, 256],
    [70_000, 3],
    [200_000, 256],
    [400_000, 1],
  ] as const) {
    const bytes = sample(length + 1, length, symbols);
    for (const level of [0, 1, 6, 9]) {
      for (const strategy of strategies) {
        deepEqual(gunzip(gzipSync(bytes, { level, strategy }), SIZE_MAX), bytes);
      }
    }
  }
});

test("skips all optional fields of the header", () => {
  const bytes = utf8Bytes("hello");
  const plain = gzipSync(bytes);
  const extras = concatBytes(
    Uint8Array.of(3, 0, 1, 2, 3),
    utf8Bytes("name\0comment\0"),
    Uint8Array.of(9, 9),
  );
  const header = Uint8Array.of(0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 0);
  deepEqual(gunzip(concatBytes(header, extras, plain.subarray(10)), SIZE_MAX), bytes);
});

test("refuses what is damaged, longer than allowed, or followed by more", () => {
  const bytes = sample(3, 5000, 20);
  const compressed = gzipSync(bytes);
  const refused = (input: Uint8Array, sizeMax = SIZE_MAX): void => {
    throws(
      () => gunzip(input, sizeMax),
      (error) => error instanceof WasmError && error.info.code === "canister/wasm-compression",
    );
  };
  deepEqual(gunzip(compressed, 5000), bytes);
  refused(compressed, 4999);
  refused(concatBytes(compressed, Uint8Array.of(0)));
  for (let length = 0; length < compressed.length; length += 7)
    refused(compressed.subarray(0, length));
  const wrongChecksum = compressed.slice();
  wrongChecksum[compressed.length - 6]! ^= 1;
  refused(wrongChecksum);
  const wrongLength = compressed.slice();
  wrongLength[compressed.length - 1]! ^= 1;
  refused(wrongLength);
  const reserved = concatBytes(compressed.subarray(0, 10), Uint8Array.of(7), deflateRawSync(bytes));
  refused(reserved);
});

test("a bit that flips is refused, or zlib accepts the same", () => {
  const compressed = gzipSync(sample(5, 600, 9));
  const random = createRandom(11);
  let refusals = 0;
  for (let i = 0; i < 3000; i++) {
    const mutant = compressed.slice();
    mutant[random(mutant.length)]! ^= 1 << random(8);
    let expected: Uint8Array | undefined;
    try {
      expected = new Uint8Array(gunzipSync(mutant));
    } catch {
      refusals++;
    }
    let actual: Uint8Array | undefined;
    try {
      actual = gunzip(mutant, SIZE_MAX);
    } catch (error) {
      equal(error instanceof WasmError, true);
    }
    // A flipped header flag makes zlib skip or check fields; where it accepts, so do we.
    if (expected !== undefined) deepEqual(actual, expected);
    else equal(actual === undefined || mutant[3] !== 0, true);
  }
  equal(refusals > 2000, true);
});

test("a bomb ends at the limit, at once and without the memory that it asks for", () => {
  // 64 MiB of zeros in 64 KiB.
  const bomb = gzipSync(new Uint8Array(64 * 1024 * 1024));
  const before = process.memoryUsage().arrayBuffers;
  const started = process.cpuUsage();
  throws(() => gunzip(bomb, SIZE_MAX), WasmError);
  ok(process.cpuUsage(started).user < 5_000_000);
  ok(process.memoryUsage().arrayBuffers - before < 8 * SIZE_MAX);
});

test("any bytes are refused or decompressed, never more than allowed", () => {
  const random = createRandom(23);
  const samples = [gzipSync(sample(1, 3_000, 4)), gzipSync(sample(2, 3_000, 250), { level: 0 })];
  let accepted = 0;
  for (let i = 0; i < 3_000; i++) {
    let bytes: Uint8Array = samples[random(samples.length)]!.slice();
    for (let step = random(3); step > 0; step--) {
      const at = 10 + random(bytes.length - 10);
      const run = Uint8Array.from({ length: random(6) }, () => random(256));
      bytes = concatBytes(bytes.subarray(0, at), run, bytes.subarray(at + random(6)));
    }
    try {
      ok(gunzip(bytes, SIZE_MAX).length <= SIZE_MAX);
      accepted++;
    } catch (error) {
      ok(error instanceof WasmError);
    }
  }
  ok(accepted > 500 && accepted < 2_900, `${accepted} accepted`);
});
