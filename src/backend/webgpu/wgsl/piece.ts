// How WGSL is put together: small texts that name what they need, joined once each into one module. It
// owns the joining and the rule that no text holds a float; what the texts compute is theirs.
//
// A float in WGSL may be flushed, fused or rounded either way (even when only moved), so none of our
// modules has one: an f32 travels as the u32 of its bits, and everything is integer arithmetic, which WGSL
// defines to the bit. Two traps remain: shift counts are taken modulo 32, so every count is clamped
// where it is made, and a constant shift of 32 or more is refused by compilers.

import { assert } from "gyrotron/base";

/** A named part of a module: declarations that `needs` come before. */
export interface WgslPiece {
  readonly name: string;
  readonly needs: readonly WgslPiece[];
  readonly text: string;
}

/** One module of all pieces and what they need, each once, dependencies first. */
export function composeWgsl(pieces: readonly WgslPiece[]): string {
  const done = new Map<string, WgslPiece>();
  const visit = (piece: WgslPiece): void => {
    const known = done.get(piece.name);
    assert(known === undefined || known === piece, `two pieces are called ${piece.name}`);
    if (known !== undefined) return;
    piece.needs.forEach(visit);
    done.set(piece.name, piece);
  };
  pieces.forEach(visit);
  const code = [...done.values()].map(({ text }) => text.trim()).join("\n\n");
  const found = findFloat(code);
  assert(found === undefined, `a float in WGSL: ${found}`);
  return code;
}

const FLOAT_WORDS =
  /\b(f16|f32|f64|(vec[234]|mat[234]x[234])[fh]|float|fma|enable|quantizeToF16|(un)?pack\w*(float|norm|F16|Float|Norm)\w*|(vec[234]|mat[234]x[234])\s*\()/;
const FLOAT_LITERAL =
  /(?<![\w.])((\d+\.\d*|\.\d+|\d+([eE][+-]?\d+)[fh]?|\d+[fh])(?!\w)|0[xX][0-9a-fA-F]*[.pP])/;

/** The first float type, float builtin or float literal of a text; constructors of no stated type count. */
export function findFloat(code: string): string | undefined {
  const plain = code.replace(/\/\/.*/g, "");
  return (FLOAT_WORDS.exec(plain) ?? FLOAT_LITERAL.exec(plain))?.[0];
}
