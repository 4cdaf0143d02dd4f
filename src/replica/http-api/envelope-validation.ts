// Whether a request may be accepted: size, expiry, sender, signature, delegations. One pure function
// for HTTP, mempool and block execution. The expensive part (signatures) does not depend on time and
// can be kept by the caller, under a hash of the whole envelope: the request id does not cover
// the signature. Texts are those of the IC interface, section "validation".

import {
  compareBytes,
  concatBytes,
  DELEGATION_TARGETS_MAX,
  DELEGATIONS_MAX,
  equalBytes,
  formatHex,
  INGRESS_BYTES_MAX,
  INGRESS_DRIFT_NS,
  INGRESS_TTL_NS,
  NONCE_BYTES_MAX,
  READ_STATE_LABELS_MAX,
  READ_STATE_PATHS_MAX,
} from "gyrotron/base";
import {
  CryptoError,
  DOMAIN_DELEGATION,
  DOMAIN_REQUEST,
  DOMAIN_SENDER_INFO,
  formatPrincipal,
  isAnonymous,
  isManagementCanister,
  openWebAuthnSignature,
  parseUserKey,
  type PlainKey,
  selfAuthenticating,
  type UserKey,
  verifySignature,
} from "gyrotron/crypto";
import { canisterSignatureProblem } from "../certification/index.ts";
import type { CallContent, RequestContent, SenderInfo } from "./content.ts";
import type { Envelope, SenderAuthentication, SignedDelegation } from "./envelope.ts";
import type { Refusal } from "./refusal.ts";
import { refuse } from "./refusal.ts";
import { formatTimestamp } from "./timestamp.ts";

/** What a request is checked against. */
export interface ValidationOptions {
  /** Block time, or the node's clock. */
  nowNs: bigint;
  /** Root key (DER) of the network, under which canisters' signatures are certified. */
  rootKeyDer: Uint8Array;
  /** Effective canister id of the URL; left out where there is no URL. */
  urlCanisterId?: Uint8Array;
  /** Canister that a management call is about, read from its argument; undefined: any will do. */
  managementTarget?: (content: CallContent) => Uint8Array | undefined;
  /** Result of an earlier authenticateSender for exactly these envelope bytes. */
  authenticated?: AuthenticatedSender;
}

/** What the signatures of an envelope prove, at any time. */
export interface AuthenticatedSender {
  readonly ok: true;
  readonly sender: Uint8Array;
  /** Canisters that the delegations allow; undefined: all. */
  readonly targets: Uint8Array[] | undefined;
  /** Earliest end of the delegations; undefined: there are none. */
  readonly delegationExpiryNs: bigint | undefined;
  /** A delegation allows queries and state reads only. */
  readonly isQueriesOnly: boolean;
}

/** An accepted request. */
export interface ValidRequest<C extends RequestContent = RequestContent> {
  readonly ok: true;
  readonly requestId: Uint8Array;
  readonly content: C;
  readonly sender: Uint8Array;
  readonly authenticated: AuthenticatedSender;
}

/** Checks everything about an envelope that does not need the state. Cheap checks first. */
export function validateEnvelope<C extends RequestContent>(
  envelope: Envelope<C>,
  options: ValidationOptions,
): ValidRequest<C> | Refusal {
  const early = earlyRefusal(envelope, options);
  if (early !== undefined) return early;
  const { rootKeyDer, authenticated } = options;
  return acceptFrom(authenticated ?? authenticateSender(envelope, rootKeyDer), envelope, options);
}

/** As validateEnvelope, with signatures verified by `verify`, which may take its time. */
export async function validateEnvelopeWith<C extends RequestContent>(
  envelope: Envelope<C>,
  options: ValidationOptions,
  verify: (check: SignatureCheck) => Promise<boolean>,
): Promise<ValidRequest<C> | Refusal> {
  const early = earlyRefusal(envelope, options);
  if (early !== undefined) return early;
  const authenticated = await authenticateSenderWith(envelope, options.rootKeyDer, verify);
  return acceptFrom(authenticated, envelope, options);
}

/** What is misdirected, too large or late is refused before its signatures cost anything. */
function earlyRefusal(envelope: Envelope, options: ValidationOptions): Refusal | undefined {
  const { content } = envelope;
  return (
    urlRefusal(content, options) ?? sizeRefusal(envelope) ?? expiryRefusal(content, options.nowNs)
  );
}

function acceptFrom<C extends RequestContent>(
  authenticated: AuthenticatedSender | Refusal,
  envelope: Envelope<C>,
  options: ValidationOptions,
): ValidRequest<C> | Refusal {
  const { content } = envelope;
  if (!authenticated.ok) return authenticated;
  const late = delegationRefusal(content, authenticated, options.nowNs);
  if (late !== undefined) return late;
  return {
    ok: true,
    content,
    sender: authenticated.sender,
    authenticated,
    get requestId() {
      return envelope.requestId;
    },
  };
}

/** A plain signature to be checked. */
export interface SignatureCheck {
  key: PlainKey;
  message: Uint8Array;
  signature: Uint8Array;
}

const SENDER_INFO_WITHOUT_CANISTER =
  "Invalid sender info: it is only allowed with keys of canister signatures.";

type Verify = (check: SignatureCheck) => boolean;

/** How signatures are checked: plain ones by `verify`, canisters' under the root key. */
interface Verification {
  verify: Verify;
  rootKeyDer: Uint8Array;
}

const verifyNow: Verify = ({ key, message, signature }) => verifySignature(key, message, signature);

/** As authenticateSender, with signatures verified by `verify`, which may take its time. */
async function authenticateSenderWith(
  envelope: Envelope,
  rootKeyDer: Uint8Array,
  verify: (check: SignatureCheck) => Promise<boolean>,
): Promise<AuthenticatedSender | Refusal> {
  // First as if all signatures were good, which says what there is to check.
  const checks: SignatureCheck[] = [];
  const supposed = authenticateSender(envelope, rootKeyDer, (check) => checks.push(check) > 0);
  if (!supposed.ok || checks.length === 0) return supposed;
  const answers = await Promise.all(checks.map(verify));
  if (answers.every((isGood) => isGood)) return supposed;
  let next = 0;
  return authenticateSender(envelope, rootKeyDer, () => answers[next++] === true);
}

/** Checks sender, signature and delegation chain: the part that depends on the envelope's bytes alone. */
export function authenticateSender(
  envelope: Envelope,
  rootKeyDer: Uint8Array,
  verify: Verify = verifyNow,
): AuthenticatedSender | Refusal {
  const { content, authentication } = envelope;
  const { sender } = content;
  const verification = { verify, rootKeyDer };
  const senderInfo = content.kind === "read_state" ? undefined : content.senderInfo;
  if (isAnonymous(sender)) {
    if (authentication !== undefined)
      return refuse(400, "Signature is not allowed for the anonymous user.");
    if (senderInfo !== undefined) return refuse(400, SENDER_INFO_WITHOUT_CANISTER);
    return {
      ok: true,
      sender,
      targets: undefined,
      delegationExpiryNs: undefined,
      isQueriesOnly: false,
    };
  }
  if (authentication === undefined)
    return refuse(400, `Missing signature from user: ${formatPrincipal(sender)}`);
  const { publicKeyDer, delegations } = authentication;
  if (!equalBytes(selfAuthenticating(publicKeyDer), sender)) {
    const [user, key] = [formatPrincipal(sender), formatHex(publicKeyDer)];
    return refuse(400, `The user id '${user}' does not match the public key '${key}'`);
  }
  const refusal =
    chainRefusal(authentication, verification) ??
    requestSignatureRefusal(authentication, envelope.requestId, verification) ??
    (senderInfo && senderInfoRefusal(publicKeyDer, senderInfo, verification));
  if (refusal !== undefined) return refusal;
  return {
    ok: true,
    sender,
    targets: intersectedTargets(delegations),
    delegationExpiryNs: earliestExpiry(delegations),
    isQueriesOnly: delegations.some(({ permissions }) => permissions === "queries"),
  };
}

function urlRefusal(content: RequestContent, options: ValidationOptions): Refusal | undefined {
  const { urlCanisterId } = options;
  if (content.kind === "read_state" || urlCanisterId === undefined) return undefined;
  const effective = isManagementCanister(content.canisterId)
    ? options.managementTarget?.(content)
    : content.canisterId;
  if (effective === undefined || equalBytes(effective, urlCanisterId)) return undefined;
  const [specified, inUrl] = [formatPrincipal(effective), formatPrincipal(urlCanisterId)];
  return refuse(
    400,
    `Specified CanisterId ${specified} does not match effective canister id in URL ${inUrl}`,
  );
}

function sizeRefusal(envelope: Envelope): Refusal | undefined {
  const { content, encodedBytes } = envelope;
  if (content.kind === "call" && encodedBytes > INGRESS_BYTES_MAX) {
    const id = formatHex(envelope.requestId);
    const size = `Message byte size ${encodedBytes} is larger than the max allowed ${INGRESS_BYTES_MAX}.`;
    return refuse(413, `Request ${id} is too large. ${size}`);
  }
  const nonceBytes = content.nonce?.length ?? 0;
  if (nonceBytes > NONCE_BYTES_MAX) {
    return refuse(
      400,
      `Nonce in request is too big: got ${nonceBytes} bytes, but at most ${NONCE_BYTES_MAX} are allowed.`,
    );
  }
  return content.kind === "read_state" ? pathsRefusal(content.paths) : undefined;
}

function pathsRefusal(paths: readonly Uint8Array[][]): Refusal | undefined {
  if (paths.length > READ_STATE_PATHS_MAX) {
    const got = `got ${paths.length} paths, but at most ${READ_STATE_PATHS_MAX} are allowed.`;
    return refuse(400, `Too many paths in read state request: ${got}`);
  }
  const deep = paths.find((path) => path.length > READ_STATE_LABELS_MAX);
  if (deep === undefined) return undefined;
  const got = `got ${deep.length} labels, but at most ${READ_STATE_LABELS_MAX} are allowed.`;
  return refuse(400, `At least one path in read state request is too deep: ${got}`);
}

/** Agents look for the text before the first colon and resynchronise their clock. */
function expiryRefusal(content: RequestContent, nowNs: bigint): Refusal | undefined {
  if (content.kind !== "call" && isAnonymous(content.sender)) return undefined;
  const latestNs = nowNs + INGRESS_TTL_NS + INGRESS_DRIFT_NS;
  const expiryNs = content.ingressExpiryNs;
  if (nowNs <= expiryNs && expiryNs <= latestNs) return undefined;
  const text =
    "Invalid request expiry: Specified ingress_expiry not within expected range: " +
    `Minimum allowed expiry: ${formatTimestamp(nowNs)}, Maximum allowed expiry: ${formatTimestamp(latestNs)}, ` +
    `Provided expiry:        ${formatTimestamp(expiryNs)}`;
  return refuse(400, text);
}

function delegationRefusal(
  content: RequestContent,
  authenticated: AuthenticatedSender,
  nowNs: bigint,
): Refusal | undefined {
  const { delegationExpiryNs, targets } = authenticated;
  if (delegationExpiryNs !== undefined && delegationExpiryNs < nowNs) {
    const times = `Provided expiry:    ${formatTimestamp(delegationExpiryNs)}\nLocal replica time: ${formatTimestamp(nowNs)}`;
    return refuse(
      400,
      `Invalid delegation expiry: Specified sender delegation has expired:\n${times}`,
    );
  }
  if (content.kind === "read_state") return undefined;
  if (content.kind === "call" && authenticated.isQueriesOnly) {
    return refuse(400, "Invalid delegation: The delegation permits queries only.");
  }
  if (targets === undefined || targets.some((target) => equalBytes(target, content.canisterId)))
    return undefined;
  return refuse(
    400,
    `Canister '${formatPrincipal(content.canisterId)}' is not one of the delegation targets.`,
  );
}

/** Everything wrong with the delegations themselves. */
function chainRefusal(
  { publicKeyDer, delegations }: SenderAuthentication,
  verification: Verification,
): Refusal | undefined {
  const count = delegations.length;
  if (count > DELEGATIONS_MAX) {
    const got = `got ${count} delegations, but at most ${DELEGATIONS_MAX} are allowed.`;
    return refuse(400, `Invalid delegation: Chain of delegations is too long: ${got}`);
  }
  const keys = [publicKeyDer, ...delegations.map((delegation) => delegation.publicKeyDer)];
  const repeated = keys.find((key, index) =>
    keys.some((other, at) => at < index && equalBytes(other, key)),
  );
  if (repeated !== undefined) {
    const cycle = `first repeating public key encountered ${formatHex(repeated)}`;
    return refuse(
      400,
      `Invalid delegation: Chain of delegations contains at least one cycle: ${cycle}`,
    );
  }
  let signerDer = publicKeyDer;
  for (const delegation of delegations) {
    const problem = linkProblem(signerDer, delegation, verification);
    if (problem !== undefined) return refuse(400, `Invalid delegation: ${problem}`);
    signerDer = delegation.publicKeyDer;
  }
  return undefined;
}

function linkProblem(
  signerDer: Uint8Array,
  delegation: SignedDelegation,
  verification: Verification,
): string | undefined {
  const { targets, permissions } = delegation;
  if (targets !== undefined && targets.length > DELEGATION_TARGETS_MAX) {
    const got = `got ${targets.length} targets, but at most ${DELEGATION_TARGETS_MAX} are allowed.`;
    return `Delegation target error: Too many targets: ${got}`;
  }
  if (permissions !== undefined && permissions !== "queries" && permissions !== "all") {
    return `Delegation permission error: unknown permissions '${permissions.slice(0, 40)}'.`;
  }
  return signatureProblem(
    signerDer,
    concatBytes(DOMAIN_DELEGATION, delegation.hash),
    delegation.signature,
    verification,
  );
}

function requestSignatureRefusal(
  sender: SenderAuthentication,
  requestId: Uint8Array,
  verification: Verification,
): Refusal | undefined {
  const signerDer = sender.delegations.at(-1)?.publicKeyDer ?? sender.publicKeyDer;
  const problem = signatureProblem(
    signerDer,
    concatBytes(DOMAIN_REQUEST, requestId),
    sender.signature,
    verification,
  );
  return problem === undefined ? undefined : refuse(400, `Invalid signature: ${problem}`);
}

/** What the issuer of the sender's identity says of them counts only with the issuer's signature. */
function senderInfoRefusal(
  publicKeyDer: Uint8Array,
  { info, signer, signature }: SenderInfo,
  { rootKeyDer }: Verification,
): Refusal | undefined {
  const key = userKey(publicKeyDer);
  if (typeof key === "string" || key.scheme !== "canister-signature")
    return refuse(400, SENDER_INFO_WITHOUT_CANISTER);
  if (!equalBytes(key.canisterId, signer)) {
    const [named, own] = [formatPrincipal(signer), formatPrincipal(key.canisterId)];
    return refuse(
      400,
      `Invalid sender info: the signer ${named} is not the key's canister ${own}.`,
    );
  }
  const message = concatBytes(DOMAIN_SENDER_INFO, info);
  const problem = canisterSignatureProblem(key, message, signature, rootKeyDer);
  return problem === undefined
    ? undefined
    : refuse(400, `Invalid sender info: Invalid canister signature: ${problem}`);
}

function signatureProblem(
  keyDer: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  { verify, rootKeyDer }: Verification,
): string | undefined {
  const key = userKey(keyDer);
  if (typeof key === "string") return `Invalid public key: ${key}`;
  if (key.scheme === "canister-signature") {
    const problem = canisterSignatureProblem(key, message, signature, rootKeyDer);
    return problem === undefined ? undefined : `Invalid canister signature: ${problem}`;
  }
  if (key.scheme === "webauthn") {
    const opened = openWebAuthnSignature(key.key, message, signature);
    if (!opened.ok) return `WebAuthn error: ${opened.problem}`;
    if (verify({ key: key.key, message: opened.message, signature: opened.signature }))
      return undefined;
    return `WebAuthn error: the ${key.key.scheme} signature does not verify.`;
  }
  if (verify({ key, message, signature })) return undefined;
  return `Invalid basic signature: the ${key.scheme} signature does not verify.`;
}

/** A key that users may sign with, or what is wrong with it. */
function userKey(der: Uint8Array): UserKey | string {
  try {
    const key = parseUserKey(der);
    return key.scheme === "bls12-381" ? "BLS keys are not allowed for users." : key;
  } catch (error) {
    if (error instanceof CryptoError && error.info.code === "crypto/public-key")
      return `${error.info.reason}.`;
    throw error;
  }
}

/** Canisters in every list of targets; undefined if no delegation has one. Sorted, without repeats. */
function intersectedTargets(delegations: readonly SignedDelegation[]): Uint8Array[] | undefined {
  let common: Map<string, Uint8Array> | undefined;
  for (const { targets } of delegations) {
    if (targets === undefined) continue;
    const listed = new Map(targets.map((target) => [formatHex(target), target]));
    common =
      common === undefined ? listed : new Map([...common].filter(([key]) => listed.has(key)));
  }
  return common === undefined ? undefined : [...common.values()].sort(compareBytes);
}

function earliestExpiry(delegations: readonly SignedDelegation[]): bigint | undefined {
  let earliest: bigint | undefined;
  for (const { expirationNs } of delegations) {
    if (earliest === undefined || expirationNs < earliest) earliest = expirationNs;
  }
  return earliest;
}
