// Which tokens of a vocabulary a grammar allows next: the vocabulary as a tree of bytes, walked along the
// grammar, so that tokens with a common beginning are judged together.

import type { GrammarState, Recognizer } from "./grammar.ts";

/** A vocabulary by its bytes. */
export interface TokenBytes {
  /** Number of tokens, rows of the classifier. */
  readonly vocabulary: number;
  /** Bytes of a token; none for tokens that stand for no text, which are never allowed. */
  bytesOf(token: number): Uint8Array;
}

interface TreeNode {
  readonly children: Map<number, TreeNode>;
  readonly tokens: number[];
}

/** The tree of a vocabulary. */
export class TokenTree {
  readonly vocabulary: number;
  readonly #root: TreeNode = { children: new Map(), tokens: [] };

  constructor(tokens: TokenBytes) {
    this.vocabulary = tokens.vocabulary;
    for (let token = 0; token < tokens.vocabulary; token++) this.#add(token, tokens.bytesOf(token));
  }

  /** A byte for each token, 1 where the grammar allows it after `state`. */
  maskOf(recognizer: Recognizer, state: GrammarState): Uint8Array {
    const mask = new Uint8Array(this.vocabulary);
    const visit = (node: TreeNode, at: GrammarState): void => {
      for (const token of node.tokens) mask[token] = 1;
      for (const [byte, child] of node.children) {
        const next = recognizer.step(at, byte);
        if (next !== null) visit(child, next);
      }
    };
    visit(this.#root, state);
    return mask;
  }

  #add(token: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    let node = this.#root;
    for (const byte of bytes) {
      let child = node.children.get(byte);
      if (child === undefined)
        node.children.set(byte, (child = { children: new Map(), tokens: [] }));
      node = child;
    }
    node.tokens.push(token);
  }
}
