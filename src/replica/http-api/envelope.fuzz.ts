// Fuzz target of envelopes: hostile bytes are a refusal or an envelope that validates to an answer,
// never an exception. Run with a budget in seconds:
//   node --conditions=source src/replica/http-api/envelope.fuzz.ts 60

import fc from "fast-check";
import { concatBytes, EMPTY_BYTES } from "gyrotron/base";
import {
  ANONYMOUS_PRINCIPAL,
  ed25519PublicKeyDer,
  encodeSelfDescribedCbor,
  selfAuthenticating,
} from "gyrotron/crypto";
import { decodeEnvelope } from "./envelope.ts";
import { validateEnvelope } from "./envelope-validation.ts";

const der = ed25519PublicKeyDer(new Uint8Array(32));
const common = {
  ingress_expiry: 10n ** 18n,
  nonce: new Uint8Array(16),
  sender: selfAuthenticating(der),
};
const call = {
  request_type: "call",
  canister_id: new Uint8Array(10),
  method_name: "go",
  arg: new Uint8Array(8),
  ...common,
};
const delegation = {
  pubkey: der,
  expiration: 10n ** 18n,
  targets: [new Uint8Array(10)],
  permissions: "all",
};
const proof = {
  sender_pubkey: der,
  sender_sig: new Uint8Array(64),
  sender_delegation: [{ delegation, signature: new Uint8Array(64) }],
};

/** Well-formed envelopes to start from. */
const ENVELOPE_CORPUS: readonly Uint8Array[] = [
  { content: call, ...proof },
  { content: { ...call, sender: ANONYMOUS_PRINCIPAL } },
  {
    content: {
      ...call,
      sender_info: { info: new Uint8Array(3), signer: new Uint8Array(10), sig: new Uint8Array(5) },
    },
  },
  {
    content: {
      request_type: "read_state",
      paths: [[new Uint8Array(4)], []],
      ...common,
      sender: ANONYMOUS_PRINCIPAL,
    },
  },
].map((envelope) => encodeSelfDescribedCbor(envelope));

/** Decodes and validates as each kind; how many kinds it was an envelope of. */
export function decodeAndValidate(bytes: Uint8Array): number {
  let envelopes = 0;
  for (const kind of ["call", "query", "read_state"] as const) {
    const envelope = decodeEnvelope(bytes, kind);
    if (!envelope.ok) continue;
    validateEnvelope(envelope, { nowNs: 10n ** 18n, rootKeyDer: EMPTY_BYTES });
    envelopes++;
  }
  return envelopes;
}

/** Well-formed envelopes after a few edits: bytes set, cut, or put in. */
export const hostileEnvelope: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.constantFrom(...ENVELOPE_CORPUS),
    fc.array(
      fc.tuple(
        fc.constantFrom("set", "cut", "insert"),
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 6 }),
      ),
      {
        maxLength: 4,
      },
    ),
  )
  .map(([bytes, edits]) => edits.reduce(edited, bytes));

function edited(
  bytes: Uint8Array,
  [kind, position, content]: [string, number, Uint8Array],
): Uint8Array {
  const at = position % (bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  if (kind === "cut") return concatBytes(before, after.subarray(content.length));
  return concatBytes(before, content, kind === "set" ? after.subarray(content.length) : after);
}

if (import.meta.main) {
  const interruptAfterTimeLimit = 1000 * Number(process.argv[2] ?? 10);
  let inputCount = 0;
  const property = fc.property(hostileEnvelope, (bytes) => {
    decodeAndValidate(bytes);
    inputCount++;
  });
  fc.assert(property, { numRuns: 1e9, interruptAfterTimeLimit, markInterruptAsFailure: false });
  console.log(`${inputCount} inputs, no finding`);
}
