// Bringing a block's transactions into the state: validation, replay protection, the price of
// ingress, the inbox. A transaction that fails a check leaves no trace, or a final rejected status.

import { INGRESS_TTL_NS } from "gyrotron/base";
import { isManagementCanister } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { charge, missingFor } from "../cycles/balance.ts";
import {
  type AuthenticatedSender,
  type CallContent,
  decodeEnvelope,
  validateEnvelope,
  type ValidRequest,
} from "../http-api/index.ts";
import { inspectManagementIngress } from "../management/dispatch.ts";
import { isNativeCanister } from "../native-canisters.ts";
import { canisterNotFound, outOfCycles, type Reject } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { payStorage } from "../management/storage.ts";
import { answer } from "./answer.ts";

/** Longest argument of update_settings that a frozen canister still pays for, so that it can be rescued. */
const RESCUE_ARGUMENT_BYTES_MAX = 366;
/** First byte of messages that nodes sign; never the first byte of an envelope. */
export const NODE_MESSAGE_TAG = 0x00;

/** Takes one ingress envelope in. `authenticated` spares checking signatures that this node has checked before. */
export function inductIngress(
  context: BlockContext,
  transaction: Uint8Array,
  authenticated: AuthenticatedSender | undefined,
): void {
  const envelope = decodeEnvelope(transaction, "call");
  if (!envelope.ok) return;
  const request = validateEnvelope(envelope, {
    nowNs: context.timeNs,
    rootKeyDer: context.network.rootKeyDer,
    ...(authenticated && { authenticated }),
  });
  if (!request.ok || context.state.ingress(request.requestId) !== undefined) return;
  const { content, requestId } = request;
  const route = routeIngress(context, content);
  context.state.putIngress(requestId, {
    status: { kind: "received" },
    sender: content.sender,
    canisterId: "kind" in route ? content.canisterId : (route.payer?.id ?? content.canisterId),
    pruneAtNs: content.ingressExpiryNs + INGRESS_TTL_NS,
  });
  const refusal =
    "kind" in route
      ? route
      : payIngress(context, route.payer, transaction.length, isRescue(content));
  if (refusal !== undefined) {
    answer(context, { kind: "ingress", requestId, sender: content.sender }, refusal, 0n);
    return;
  }
  context.state.pushMessage(content.canisterId, messageOf(request));
}

/** The canister that an ingress message concerns and that pays for it; none pays for creations. */
function routeIngress(
  context: BlockContext,
  content: CallContent,
): { payer: CanisterRecord | undefined } | Reject {
  let payerId: Uint8Array | undefined = content.canisterId;
  if (isManagementCanister(content.canisterId)) {
    const { sender, methodName, argument } = content;
    const inspected = inspectManagementIngress(context, sender, methodName, argument);
    if ("kind" in inspected) return inspected;
    payerId = inspected.payer;
  }
  if (payerId === undefined || isNativeCanister(payerId)) return { payer: undefined };
  const payer = context.state.canister(payerId);
  return payer === undefined ? canisterNotFound(payerId) : { payer };
}

function payIngress(
  context: BlockContext,
  payer: CanisterRecord | undefined,
  bytes: number,
  mayFreeze: boolean,
): Reject | undefined {
  if (payer === undefined) return undefined;
  payStorage(context, payer);
  context.state.putCanister(payer);
  const price = context.prices.ingress(bytes);
  const isPayable = mayFreeze && payer.cycles >= price;
  const missing = isPayable ? 0n : missingFor(payer, price, context.prices);
  if (missing > 0n) return outOfCycles(payer.id, missing);
  charge(payer, "ingressInduction", price);
  context.state.putCanister(payer);
  return undefined;
}

function isRescue({ canisterId, methodName, argument }: CallContent): boolean {
  return (
    isManagementCanister(canisterId) &&
    methodName === "update_settings" &&
    argument.length <= RESCUE_ARGUMENT_BYTES_MAX
  );
}

function messageOf({
  content,
  requestId,
}: ValidRequest<CallContent>): Parameters<BlockContext["state"]["pushMessage"]>[1] {
  const { senderInfo } = content;
  return {
    kind: "ingress",
    requestId,
    sender: content.sender,
    senderInfo: senderInfo && { data: senderInfo.info, signer: senderInfo.signer },
    method: content.methodName,
    argument: content.argument,
    expiryNs: content.ingressExpiryNs,
  };
}
