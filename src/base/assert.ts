// Assertions for bugs in our own code. They stay on in production: a node that has lost an
// invariant must stop rather than sign a state it cannot vouch for. Bad input is never an assertion.

/** A broken invariant: a bug in this program, never the fault of its input. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Stops on a broken invariant. @throws AssertionError if `condition` is false */
export function assert(condition: boolean, what = "invariant does not hold"): asserts condition {
  if (!condition) throw new AssertionError(what);
}

/** The value, which by an invariant cannot be absent. @throws AssertionError if it is */
export function present<T>(value: T | undefined | null, what = "value must be present"): T {
  if (value === undefined || value === null) throw new AssertionError(what);
  return value;
}

/** Marks a case that the types exclude. @throws AssertionError always */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable case: ${String(value)}`);
}
