// Calls to the system canisters: from blocks, where methods may change state, and from queries.

import { DecodeError, equalBytes, present, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid } from "gyrotron/candid";
import type { BlockContext } from "../block-context.ts";
import type { CanisterMetadata } from "../certification/index.ts";
import { answer } from "../messaging/answer.ts";
import { ErrorCode, executionReject, methodNotFound, type Reject } from "../reject.ts";
import type { CallOrigin, Message, Response } from "../state/records.ts";
import { CYCLES_LEDGER } from "./cycles-ledger.ts";
import { CYCLES_MINTING_CANISTER } from "./cycles-minting.ts";
import { ICP_LEDGER } from "./icp-ledger.ts";
import type {
  Outcome,
  QueryContext,
  QueryMethod,
  SystemCall,
  SystemCanister,
  UpdateMethod,
} from "./method.ts";
import { serviceText } from "./service-text.ts";

/** The system canisters with their methods. */
export const SYSTEM_CANISTERS: readonly SystemCanister[] = [
  ICP_LEDGER,
  CYCLES_MINTING_CANISTER,
  CYCLES_LEDGER,
];

/** Runs a call of a block and answers it; what is left of its cycles goes back. */
export function executeSystemCall(
  context: BlockContext,
  id: Uint8Array,
  message: Extract<Message, { kind: "ingress" | "request" }>,
): void {
  const canister = find(id);
  const { sender: caller } = message;
  const cycles = message.kind === "request" ? message.cycles : 0n;
  const call: SystemCall = { caller, cycles, dataCertificate: undefined };
  const method = methodOf(canister, message.method);
  const response =
    method === undefined
      ? methodNotFound(id, "update", message.method)
      : run(canister, method, message.argument, (argument) => method.run(context, call, argument));
  const origin: CallOrigin =
    message.kind === "ingress"
      ? { kind: "ingress", requestId: message.requestId, sender: caller }
      : { kind: "canister", canisterId: caller, callback: message.callback };
  answer(context, origin, response, call.cycles);
}

/** Runs a query, of a user or of a canister. */
export function querySystemCanister(
  context: QueryContext,
  id: Uint8Array,
  query: {
    caller: Uint8Array;
    methodName: string;
    argument: Uint8Array;
    dataCertificate: Uint8Array | undefined;
  },
): Response {
  const canister = find(id);
  const { caller, dataCertificate } = query;
  const call: SystemCall = { caller, cycles: 0n, dataCertificate };
  const method = methodOf(canister, query.methodName);
  if (method?.mode !== "query") return methodNotFound(id, "query", query.methodName);
  return run(canister, method, query.argument, (argument) => method.run(context, call, argument));
}

/** Public information of the system canisters at genesis. */
export function systemInterfaces(): { id: Uint8Array; service: CanisterMetadata }[] {
  return SYSTEM_CANISTERS.map((canister) => ({
    id: canister.id,
    service: {
      name: "candid:service",
      visibility: "public",
      content: utf8Bytes(serviceText(canister)),
    },
  }));
}

function find(id: Uint8Array): SystemCanister {
  return present(
    SYSTEM_CANISTERS.find((canister) => equalBytes(canister.id, id)),
    "calls are routed by id",
  );
}

function methodOf(
  { methods }: SystemCanister,
  name: string,
): QueryMethod | UpdateMethod | undefined {
  return Object.hasOwn(methods, name) ? methods[name] : undefined;
}

/** Decodes, runs, encodes. An argument that does not make sense traps before anything has changed. */
function run(
  { id }: SystemCanister,
  { argument, result }: QueryMethod | UpdateMethod,
  bytes: Uint8Array,
  method: (argument: never) => Outcome,
): Response {
  let outcome: Outcome;
  try {
    const given = argument === undefined ? undefined : decodeCandid([argument], bytes)[0];
    outcome = method(given as never);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return trapOf(id, error.info.what);
  }
  if ("value" in outcome) return { kind: "reply", bytes: encodeCandid([result], [outcome.value]) };
  return "encoded" in outcome ? { kind: "reply", bytes: outcome.encoded } : outcome;
}

function trapOf(id: Uint8Array, what: string): Reject {
  const text = `Canister called \`ic0.trap\` with message: '${what}'`;
  return executionReject(id, ErrorCode.calledTrap, text);
}
