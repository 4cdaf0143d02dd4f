// Goal: a NaN that arithmetic makes has one bit pattern, and a NaN that is only moved keeps its own.
import { equal } from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";
import { prepareModule } from "./prepare-module.ts";
import { TestHost } from "./test-host.ts";

const wabt = await wabtInit();

/** Runs `code` as an entry point over a page that starts with `data`; the 32 bytes at 64 after it. */
function run(code: string, data = ""): string {
  const text = `(module (memory 1) (data (i32.const 0) "${data}")
    (global $f32 (mut f32) (f32.const nan:0x200001)) (global $f64 (mut f64) (f64.const -nan:0x4000000000001))
    (func $same32 (param f32) (result f32) (local.get 0)) (func $same64 (param f64) (result f64) (local.get 0))
    (func (export "canister_update a") (local $f f64) (local $v v128) ${code}))`;
  const bytes = wabt.parseWat("nan.wat", text, { simd: true }).toBinary({}).buffer;
  const host = new TestHost(prepareModule(bytes));
  host.call("canister_update a");
  return new Uint8Array(host.heap.buffer, 64, 32).toHex().replace(/(00)+$/, "");
}

/** Payloads at 0 (f32), 8 (f64), 16 (f32x4) and 32 (f64x2), negative and signalling among them. */
const DATA = [
  "\\01\\00\\a0\\ff\\00\\00\\00\\00",
  "\\02\\00\\00\\00\\00\\00\\f4\\ff",
  "\\03\\00\\c0\\ff\\00\\00\\80\\3f\\05\\00\\a0\\7f\\00\\00\\00\\40",
  "\\07\\00\\00\\00\\00\\00\\f4\\7f\\00\\00\\00\\00\\00\\00\\f0\\3f",
].join("");

const F32 = "(f32.load (i32.const 0))";
const F64 = "(f64.load (i32.const 8))";
const F32X4 = "(v128.load (i32.const 16))";
const F64X2 = "(v128.load (i32.const 32))";
const NAN32 = "0000c07f";
const NAN64 = "000000000000f87f";

const MAKERS: [string, string][] = [
  ...["ceil", "floor", "trunc", "nearest", "sqrt"].flatMap((name): [string, string][] => [
    [`(f32.store offset=64 (i32.const 0) (f32.${name} ${F32}))`, NAN32],
    [`(f64.store offset=64 (i32.const 0) (f64.${name} ${F64}))`, NAN64],
  ]),
  ...["add", "sub", "mul", "div", "min", "max"].flatMap((name): [string, string][] => [
    [`(f32.store offset=64 (i32.const 0) (f32.${name} ${F32} (f32.const 1)))`, NAN32],
    [`(f32.store offset=64 (i32.const 0) (f32.${name} (f32.const 1) ${F32}))`, NAN32],
    [`(f64.store offset=64 (i32.const 0) (f64.${name} ${F64} (f64.const 1)))`, NAN64],
    [`(f64.store offset=64 (i32.const 0) (f64.${name} (f64.const 1) ${F64}))`, NAN64],
  ]),
  [`(f32.store offset=64 (i32.const 0) (f32.demote_f64 ${F64}))`, NAN32],
  [`(f64.store offset=64 (i32.const 0) (f64.promote_f32 ${F32}))`, NAN64],
  [`(f64.store offset=64 (i32.const 0) (f64.div (f64.const 0) (f64.const 0)))`, NAN64],
  [`(f64.store offset=64 (i32.const 0) (f64.sqrt (f64.const -1)))`, NAN64],
];

for (const [code, expected] of MAKERS) {
  test(`canonical: ${code.slice(36)}`, () => equal(run(code, DATA), expected));
}

test("lanes are canonicalised one by one", () => {
  const one = "(v128.const f32x4 1 1 1 1)";
  const expected = `${NAN32}00000040${NAN32}00004040`;
  equal(run(`(v128.store offset=64 (i32.const 0) (f32x4.add ${F32X4} ${one}))`, DATA), expected);
  const ones = "(v128.const f64x2 1 1)";
  equal(
    run(`(v128.store offset=64 (i32.const 0) (f64x2.mul ${F64X2} ${ones}))`, DATA),
    `${NAN64}000000000000f03f`,
  );
  for (const name of ["ceil", "floor", "trunc", "nearest", "sqrt"]) {
    equal(
      run(`(v128.store offset=64 (i32.const 0) (f64x2.${name} ${F64X2}))`, DATA),
      `${NAN64}000000000000f03f`,
      name,
    );
  }
  equal(
    run(`(v128.store offset=64 (i32.const 0) (f32x4.demote_f64x2_zero ${F64X2}))`, DATA),
    `${NAN32}0000803f`,
  );
  equal(
    run(`(v128.store offset=64 (i32.const 0) (f64x2.promote_low_f32x4 ${F32X4}))`, DATA),
    `${NAN64}000000000000f03f`,
  );
});

test("a result seen through another shape or another type is canonical", () => {
  const mixed = `(f64x2.abs (f32x4.add ${F32X4} ${F32X4}))`;
  equal(
    run(`(v128.store offset=64 (i32.const 0) ${mixed})`, DATA),
    `${NAN32}00000040${NAN32}00008040`,
  );
  const asDouble = `(f64x2.add (f32x4.add ${F32X4} ${F32X4}) (v128.const f64x2 0 0))`;
  equal(
    run(`(v128.store offset=64 (i32.const 0) ${asDouble})`, DATA),
    `${NAN32}00000040${NAN32}00008040`,
  );
  equal(
    run(`(i64.store offset=64 (i32.const 0) (i64.reinterpret_f64 (f64.add ${F64} ${F64})))`, DATA),
    NAN64,
  );
  equal(
    run(`(f64.store offset=64 (i32.const 0) (f64.neg (f64.add ${F64} ${F64})))`, DATA),
    "000000000000f8ff",
  );
  const copied = `(f64.copysign (f64.add ${F64} ${F64}) (f64.const -1))`;
  equal(run(`(f64.store offset=64 (i32.const 0) ${copied})`, DATA), "000000000000f8ff");
  const sign = `(f64.copysign (f64.const 1) (f64.div (f64.const 0) (f64.const 0)))`;
  equal(run(`(f64.store offset=64 (i32.const 0) ${sign})`), "000000000000f03f");
  equal(
    run(`(f64.store offset=64 (i32.const 0) (call $same64 (f64.sub ${F64} ${F64})))`, DATA),
    NAN64,
  );
  const block = `(block (result f64) (f64.mul ${F64} ${F64}))`;
  equal(run(`(f64.store offset=64 (i32.const 0) ${block})`, DATA), NAN64);
  const branch = `(block (result f64) (br 0 (f64.mul ${F64} ${F64})))`;
  equal(run(`(f64.store offset=64 (i32.const 0) ${branch})`, DATA), NAN64);
  const select = `(select (f64.mul ${F64} ${F64}) (f64.add ${F64} ${F64}) (i32.load (i32.const 0)))`;
  equal(run(`(f64.store offset=64 (i32.const 0) ${select})`, DATA), NAN64);
  const local = `(local.set $f (f64.add ${F64} (f64.const 1))) (local.set $f (f64.add (local.get $f) (f64.const 1)))`;
  equal(run(`${local} (f64.store offset=64 (i32.const 0) (local.get $f))`, DATA), NAN64);
  const loop = `(loop $l (local.set $f (f64.add (local.get $f) ${F64})) (br_if $l (f64.eq (local.get $f) (f64.const 0))))`;
  equal(run(`${loop} (f64.store offset=64 (i32.const 0) (local.get $f))`, DATA), NAN64);
  equal(run(`${loop} (f64.store offset=64 (i32.const 0) (f64.abs (local.get $f)))`, DATA), NAN64);
});

test("a local that also holds a moved NaN keeps its bits", () => {
  const keep = `(local.set $f ${F64}) (if (i32.load (i32.const 48)) (then (local.set $f (f64.add ${F64} ${F64}))))`;
  equal(
    run(`${keep} (f64.store offset=64 (i32.const 0) (local.get $f))`, DATA),
    "020000000000f4ff",
  );
});

const MOVES: [string, string][] = [
  [`(f32.store offset=64 (i32.const 0) ${F32})`, "0100a0ff"],
  [`(f64.store offset=64 (i32.const 0) ${F64})`, "020000000000f4ff"],
  [`(f32.store offset=64 (i32.const 0) (call $same32 ${F32}))`, "0100a0ff"],
  [`(f64.store offset=64 (i32.const 0) (call $same64 ${F64}))`, "020000000000f4ff"],
  [`(f32.store offset=64 (i32.const 0) (f32.neg ${F32}))`, "0100a07f"],
  [`(f64.store offset=64 (i32.const 0) (f64.abs ${F64}))`, "020000000000f47f"],
  [`(f64.store offset=64 (i32.const 0) (f64.copysign ${F64} (f64.const 1)))`, "020000000000f47f"],
  [`(f64.store offset=64 (i32.const 0) (f64.const nan:0x4000000000abc))`, "bc0a00000000f47f"],
  [`(f32.store offset=64 (i32.const 0) (global.get $f32))`, "0100a07f"],
  [
    `(i32.store offset=64 (i32.const 0) (i32.reinterpret_f32 (f32.reinterpret_i32 (i32.const 0x7fa00001))))`,
    "0100a07f",
  ],
  [
    `(f64.store offset=64 (i32.const 0) (select ${F64} (f64.const 1) (i32.const 1)))`,
    "020000000000f4ff",
  ],
  [
    `(v128.store offset=64 (i32.const 0) (f32x4.pmin ${F32X4} (v128.const f32x4 0 0 0 0)))`,
    "0300c0ff000000000500a07f",
  ],
  [`(v128.store offset=64 (i32.const 0) (f64x2.neg ${F64X2}))`, "070000000000f4ff000000000000f0bf"],
  [`(f64.store offset=64 (i32.const 0) (f64x2.extract_lane 0 ${F64X2}))`, "070000000000f47f"],
  [`(f32.store offset=64 (i32.const 0) (f32x4.extract_lane 2 (f32x4.splat ${F32})))`, "0100a0ff"],
];

for (const [code, expected] of MOVES) {
  test(`kept: ${code.slice(36)}`, () => equal(run(code, DATA), expected));
}

test("globals keep NaN payloads through save and load", () => {
  const text = `(module (memory 1) (global $a (mut f32) (f32.const nan:0x200001)) (global i32 (i32.const 3))
    (global $b (mut f64) (f64.const -nan:0x4000000000001)) (global $v (mut v128) (v128.const i32x4 1 2 3 4))
    (func (export "canister_update clear") (global.set $a (f32.const 0)) (global.set $b (f64.const 0)) (global.set $v (v128.const i32x4 0 0 0 0)))
    (func (export "canister_update a") (f32.store (i32.const 64) (global.get $a)) (f64.store (i32.const 68) (global.get $b)) (v128.store (i32.const 76) (global.get $v))))`;
  const host = new TestHost(
    prepareModule(wabt.parseWat("globals.wat", text, { simd: true }).toBinary({}).buffer),
  );
  host.call("gyrotron:save");
  host.call("canister_update clear");
  host.call("gyrotron:load");
  host.call("canister_update a");
  const bytes = new Uint8Array(host.heap.buffer, 64, 28).toHex();
  equal(bytes, "0100a07f" + "010000000000f4ff" + "01000000020000000300000004000000");
});
