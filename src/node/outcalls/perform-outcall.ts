// An outcall from request to result: the response of the world, through the canister's transform.

import { DecodeError } from "gyrotron/base";
import { decodeCandid, encodeCandid } from "gyrotron/candid";
import {
  HTTP_RESPONSE,
  type OutcallResult,
  type OutcallWork,
  type QueryResult,
  TRANSFORM_ARGUMENT,
} from "gyrotron/replica";
import type { HttpAnswer, HttpFailure } from "./http-client.ts";

/** What an outcall needs of the node. */
export interface OutcallHost {
  request(work: OutcallWork): Promise<HttpAnswer | HttpFailure>;
  /** Runs the canister's query `method` in the mode of transforms, on the last certified state. */
  transform(canisterId: Uint8Array, method: string, argument: Uint8Array): Promise<QueryResult>;
}

/** What Candid adds to a response, at most. */
const CANDID_BYTES = 10_000;

/** Makes a request and transforms its response. */
export async function performOutcall(work: OutcallWork, host: OutcallHost): Promise<OutcallResult> {
  const answer = await host.request(work);
  if ("message" in answer) return { kind: "failed", ...answer };
  const response = { ...answer, status: BigInt(answer.status) };
  const { transform } = work;
  if (transform === undefined)
    return { kind: "response", bytes: encodeCandid([HTTP_RESPONSE], [response]) };
  const argument = encodeCandid([TRANSFORM_ARGUMENT], [{ response, context: transform.context }]);
  const result = await host.transform(work.canisterId, transform.method, argument);
  if (result.kind === "rejected")
    return failed(`Calling transform function failed: ${result.message}`);
  const { reply } = result;
  if (reply.length > work.responseBytesMax + CANDID_BYTES)
    return failed(`Transformed http response exceeds limit: ${work.responseBytesMax}`);
  if (!isResponse(reply)) return failed("The transform function gave no http response");
  return { kind: "response", bytes: reply };
}

function isResponse(bytes: Uint8Array): boolean {
  try {
    return decodeCandid([HTTP_RESPONSE], bytes).length === 1;
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

function failed(message: string): OutcallResult {
  return { kind: "failed", isTransient: false, message };
}
