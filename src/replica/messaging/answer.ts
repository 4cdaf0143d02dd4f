// Where answers go: the status of a user's request, or the inbox of the calling canister. Each
// guaranteed-response call is answered exactly once; the callers of `answer` see to that.

import { INGRESS_TTL_NS } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import type { IngressStatus } from "../certification/index.ts";
import { formatErrorCode, rejectForCanister } from "../reject.ts";
import type { CallOrigin, Response } from "../state/records.ts";

/** Sends a response to whoever made the call, with the cycles that come back. */
export function answer(
  context: BlockContext,
  origin: CallOrigin,
  response: Response,
  refund: bigint,
): void {
  switch (origin.kind) {
    case "ingress":
      setIngressStatus(context, origin.requestId, ingressStatusOf(response));
      return;
    case "canister": {
      const seen = response.kind === "reject" ? rejectForCanister(response) : response;
      const { canisterId, callback } = origin;
      context.state.pushMessage(canisterId, { kind: "response", callback, response: seen, refund });
      return;
    }
    case "system":
      return;
  }
}

/** Changes the status of a known request; a final one is kept at least as long as a client may poll. */
export function setIngressStatus(
  context: BlockContext,
  requestId: Uint8Array,
  status: IngressStatus,
): void {
  const ingress = context.state.ingress(requestId);
  // Forgotten meanwhile: its expiry and the time to poll have long passed.
  if (ingress === undefined) return;
  const keepUntil = context.timeNs + INGRESS_TTL_NS;
  const pruneAtNs = ingress.pruneAtNs > keepUntil ? ingress.pruneAtNs : keepUntil;
  context.state.putIngress(requestId, { ...ingress, status, pruneAtNs });
}

function ingressStatusOf(response: Response): IngressStatus {
  if (response.kind === "reply") return { kind: "replied", reply: response.bytes };
  const { rejectCode, message, errorCode } = response;
  return { kind: "rejected", rejectCode, message, errorCode: formatErrorCode(errorCode) };
}
