// Answers that are JSON of a schema, by allowing only tokens that lead there.

import { assert } from "gyrotron/base";
import type { Constraint } from "../constraint.ts";
import { type GrammarState, Recognizer } from "./grammar.ts";
import { compileSchema } from "./schema.ts";
import { type TokenBytes, TokenTree } from "./token-mask.ts";

/** Masks kept for states that come again, such as the inside of a string. */
const MASKS_MAX = 128;

/** A schema made ready for a vocabulary; serves any number of texts. */
export class JsonGrammar {
  readonly recognizer: Recognizer;
  readonly #tokens: TokenBytes;
  readonly #tree: TokenTree;
  readonly #masks: Map<GrammarState, Uint8Array> = new Map();

  /** @throws GenerationError `learn/schema` on what cannot be enforced */
  constructor(schema: unknown, tokens: TokenBytes) {
    this.recognizer = new Recognizer(compileSchema(schema));
    this.#tokens = tokens;
    this.#tree = new TokenTree(tokens);
  }

  /** A byte for each token, 1 where it may come after `state`. */
  maskOf(state: GrammarState): Uint8Array {
    let mask = this.#masks.get(state);
    if (mask === undefined) {
      mask = this.#tree.maskOf(this.recognizer, state);
      const [oldest] = this.#masks.keys();
      if (this.#masks.size >= MASKS_MAX && oldest !== undefined) this.#masks.delete(oldest);
      this.#masks.set(state, mask);
    }
    return mask;
  }

  /** The state after a token that was allowed. */
  after(state: GrammarState, token: number): GrammarState {
    let next = state;
    for (const byte of this.#tokens.bytesOf(token)) {
      const found = this.recognizer.step(next, byte);
      assert(found !== null, "a token that the grammar does not allow");
      next = found;
    }
    return next;
  }
}

/** The constraint of one text. */
export function createJsonConstraint(grammar: JsonGrammar): Constraint {
  let state = grammar.recognizer.start;
  return {
    allowed: () => grammar.maskOf(state),
    accept(token) {
      state = grammar.after(state, token);
    },
    get mayEnd() {
      return state.mayEnd;
    },
  };
}
