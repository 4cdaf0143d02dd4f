// The rule that our WGSL holds no float, and the joining of pieces. What pieces compute is tested on devices
// (test/gpu).

import assert from "node:assert/strict";
import test from "node:test";
import { composeWgsl, findFloat, type WgslPiece } from "./piece.ts";

const floats = [
  "var x: f32;",
  "enable f16;",
  "let x = 1.0;",
  "let x = 1.;",
  "let x = .5;",
  "let x = 1e9;",
  "let x = 2f;",
  "let x = 2h;",
  "let x = 0x1p4;",
  "var v: vec4f;",
  "let v = vec2(1, 2);",
  "let v = vec3h();",
  "var m: mat4x4f;",
  "let x = unpack2x16float(y);",
  "let x = pack4x8snorm(y);",
];

for (const text of floats) {
  test(`a float is found: ${text}`, () => assert.notEqual(findFloat(text), undefined));
}

test("integers and comments are no floats", () => {
  const text = [
    "// 1.0 and f32 are words here",
    "let x = 0x7fffffu + 12u - 3 + 0x1fu + 0xe1u + 0xffu;",
    "let v = vec2u(1u, 2u).x + a.y;",
    "let d = dot4I8Packed(a, b);",
    "fn softFloat2(a1e5: u32) -> u32 { return t1f; }",
  ].join("\n");
  assert.equal(findFloat(text), undefined);
});

test("pieces come once, after what they need", () => {
  const piece = (name: string, ...needs: WgslPiece[]): WgslPiece => ({ name, needs, text: name });
  const a = piece("a");
  const b = piece("b", a);
  const c = piece("c", b, a);
  assert.equal(composeWgsl([c, a]), "a\n\nb\n\nc");
  assert.throws(() => composeWgsl([a, piece("a")]), /two pieces/);
  assert.throws(() => composeWgsl([{ ...a, text: "f32" }]), /float/);
});
