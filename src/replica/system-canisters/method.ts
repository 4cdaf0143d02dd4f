// What a system canister is: a table of methods with their Candid types, from which calls are served
// and the interface that clients read is written.

import { DecodeError } from "gyrotron/base";
import type { IDL } from "gyrotron/candid";
import type { BlockContext } from "../block-context.ts";
import type { Reject } from "../reject.ts";

/** What methods that change nothing work with. */
export type QueryContext = Pick<BlockContext, "state" | "network" | "timeNs">;

/** A call while it runs. */
export interface SystemCall {
  readonly caller: Uint8Array;
  /** What is left of the attached cycles; the rest goes back. */
  cycles: bigint;
  /** Proof of the canister's certified data; only in users' queries. */
  readonly dataCertificate: Uint8Array | undefined;
}

/** What a method answers: a value of its result type, or one encoded already. */
export type Outcome = { value: unknown } | { encoded: Uint8Array } | Reject;

interface Signature {
  readonly argument: IDL.Type | undefined;
  readonly result: IDL.Type;
}

/** A method that changes nothing. */
export interface QueryMethod extends Signature {
  readonly mode: "query";
  run(context: QueryContext, call: SystemCall, argument: never): Outcome;
}

/** A method that may change state. */
export interface UpdateMethod extends Signature {
  readonly mode: "update";
  run(context: BlockContext, call: SystemCall, argument: never): Outcome;
}

/** Methods by name. */
export type MethodTable = Readonly<Record<string, QueryMethod | UpdateMethod>>;

/** A canister of the state machine. */
export interface SystemCanister {
  readonly id: Uint8Array;
  readonly methods: MethodTable;
  /** Types that have a name in the interface. */
  readonly typeNames: Readonly<Record<string, IDL.Type>>;
}

/** A query method without an argument. */
export function constant(
  result: IDL.Type,
  value: (context: QueryContext, call: SystemCall) => unknown,
): QueryMethod {
  const run = (context: QueryContext, call: SystemCall): Outcome => ({
    value: value(context, call),
  });
  return { mode: "query", argument: undefined, result, run };
}

/** A query method of one argument. */
export function query<A>(
  argument: IDL.Type,
  result: IDL.Type,
  value: (context: QueryContext, argument: A, call: SystemCall) => unknown,
): QueryMethod {
  const run = (context: QueryContext, call: SystemCall, given: A): Outcome => ({
    value: value(context, given, call),
  });
  return { mode: "query", argument, result, run };
}

/** An update method of one argument. */
export function update<A>(
  argument: IDL.Type,
  result: IDL.Type,
  run: (context: BlockContext, call: SystemCall, argument: A) => Outcome,
): UpdateMethod {
  return { mode: "update", argument, result, run };
}

/** What is wrong with an argument that its type does not say: the call traps. */
export function badArgument(what: string): DecodeError {
  return new DecodeError({ code: "candid/decode", what, offset: 0 });
}
