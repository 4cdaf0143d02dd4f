// A canister's methods as functions of their Candid values, from the `idlFactory` that binding
// generators write.

import { decodeCandid, encodeCandid, IDL } from "gyrotron/candid";
import { TestError } from "./test-error.ts";

/** `({ IDL }) => IDL.Service({ ... })`. */
export type IdlFactory = (libraries: { IDL: typeof IDL }) => unknown;

/** How calls are made. */
export interface ActorTransport {
  call(method: string, argument: Uint8Array): Uint8Array;
  query(method: string, argument: Uint8Array): Uint8Array;
}

/** One function for each method: of its arguments, giving its result (a list if there are several). @throws TestError */
export function createTestActor(
  factory: IdlFactory,
  transport: ActorTransport,
): Record<string, (...values: unknown[]) => unknown> {
  const service = factory({ IDL });
  if (!(service instanceof IDL.ServiceClass))
    throw new TestError({ code: "testing/not-a-service", what: "the factory gives no service" });
  const methods = service._fields as [string, IDL.FuncClass][];
  return Object.fromEntries(methods.map(([name, type]) => [name, methodOf(name, type, transport)]));
}

function methodOf(
  name: string,
  { argTypes, retTypes, annotations }: IDL.FuncClass,
  transport: ActorTransport,
): (...values: unknown[]) => unknown {
  const isQuery = annotations.includes("query") || annotations.includes("composite_query");
  return (...values) => {
    const argument = encodeCandid(argTypes, values);
    const reply = isQuery ? transport.query(name, argument) : transport.call(name, argument);
    const results = decodeCandid(retTypes, reply);
    return results.length > 1 ? results : results[0];
  };
}
