// Context-free grammars over bytes, and their recognition byte by byte: the set of all stacks that a prefix
// can have left. Stacks and sets are interned, so that a language's automaton is built as it is walked.

/** A byte of a class, or the text of another rule. */
export type GrammarSymbol = { readonly bytes: Uint8Array } | { readonly rule: number };

/** Alternatives of each rule; rule 0 is the start. */
export type Grammar = readonly (readonly (readonly GrammarSymbol[])[])[];

/** What is still to come: the rest of a sequence, then what lies below. */
interface Stack {
  readonly id: number;
  readonly sequence: readonly GrammarSymbol[];
  readonly at: number;
  readonly below: Stack | undefined;
}

/** All that a prefix allows. */
export interface GrammarState {
  readonly stacks: readonly Stack[];
  /** Whether the text may end here. */
  readonly mayEnd: boolean;
  /** Successors found so far; null where a byte is not allowed. */
  readonly next: Map<number, GrammarState | null>;
}

/** Walks a grammar. Grammars must have no rule that reaches itself without a byte through itself first. */
export class Recognizer {
  readonly start: GrammarState;
  readonly #grammar: Grammar;
  readonly #stacks: Map<string, Stack> = new Map();
  readonly #sequences: Map<readonly GrammarSymbol[], number> = new Map();
  readonly #states: Map<string, GrammarState> = new Map();

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
    const tops = new Map<number, Stack>();
    let mayEnd = false;
    for (const sequence of grammar[0] ?? [])
      mayEnd = this.#expand(this.#push(sequence, 0, undefined), tops) || mayEnd;
    this.start = this.#intern(tops, mayEnd);
  }

  /** The state after a byte, or null if it may not come. */
  step(state: GrammarState, byte: number): GrammarState | null {
    const known = state.next.get(byte);
    if (known !== undefined) return known;
    const tops = new Map<number, Stack>();
    let mayEnd = false;
    for (const { sequence, at, below } of state.stacks) {
      const symbol = sequence[at]!;
      if ("bytes" in symbol && symbol.bytes[byte] === 1)
        mayEnd = this.#expand(this.#push(sequence, at + 1, below), tops) || mayEnd;
    }
    const result = tops.size === 0 && !mayEnd ? null : this.#intern(tops, mayEnd);
    state.next.set(byte, result);
    return result;
  }

  /** The rest of a sequence on a stack; nothing where nothing is left of it. */
  #push(
    sequence: readonly GrammarSymbol[],
    at: number,
    below: Stack | undefined,
  ): Stack | undefined {
    if (at === sequence.length) return below;
    let number = this.#sequences.get(sequence);
    if (number === undefined) this.#sequences.set(sequence, (number = this.#sequences.size));
    const key = `${number} ${at} ${below?.id ?? -1}`;
    let stack = this.#stacks.get(key);
    if (stack === undefined)
      this.#stacks.set(key, (stack = { id: this.#stacks.size, sequence, at, below }));
    return stack;
  }

  /** Adds the stacks with a byte on top that this one comes to; true if it can come to its end. */
  #expand(
    stack: Stack | undefined,
    tops: Map<number, Stack>,
    seen: Set<number> = new Set(),
  ): boolean {
    if (stack === undefined) return true;
    if (seen.has(stack.id)) return false;
    seen.add(stack.id);
    const symbol = stack.sequence[stack.at]!;
    if ("bytes" in symbol) {
      tops.set(stack.id, stack);
      return false;
    }
    const below = this.#push(stack.sequence, stack.at + 1, stack.below);
    let mayEnd = false;
    for (const sequence of this.#grammar[symbol.rule]!)
      mayEnd = this.#expand(this.#push(sequence, 0, below), tops, seen) || mayEnd;
    return mayEnd;
  }

  #intern(tops: ReadonlyMap<number, Stack>, mayEnd: boolean): GrammarState {
    const ids = [...tops.keys()].sort((a, b) => a - b);
    const key = `${ids.join()}${mayEnd ? "." : ""}`;
    let state = this.#states.get(key);
    if (state === undefined) {
      state = { stacks: ids.map((id) => tops.get(id)!), mayEnd, next: new Map() };
      this.#states.set(key, state);
    }
    return state;
  }
}
