// What may come next: a constraint narrows the candidates of each draw to tokens that its language allows.

/** The place of one sequence in a language. */
export interface Constraint {
  /** A byte for each token, 1 where it may come next. Valid until the next `accept`. */
  allowed(): Uint8Array;
  /** Moves on past a token that was allowed. */
  accept(token: number): void;
  /** Whether the text may end here. */
  readonly mayEnd: boolean;
}
