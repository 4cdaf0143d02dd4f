// Hashes, keys, signatures, principals, and the two encodings that signatures are made over: CBOR
// and the representation-independent hash. Thin over noble and cborg; imports base only.
export { createSha256, sha224, sha256, type Sha256Stream } from "gyrotron/hash";
export * from "./cbor.ts";
export type { PlainKey } from "./cose.ts";
export * from "./error.ts";
export * from "./principal.ts";
export {
  type BackgroundCrypto,
  BLS_DST,
  type CryptoProvider,
  cryptoProvider,
  nobleProvider,
  setBackgroundCrypto,
  setCryptoProvider,
} from "./provider.ts";
export * from "./public-key.ts";
export * from "./representation-hash.ts";
export type { RsaKey } from "./rsa.ts";
export * from "./signature.ts";
export {
  deriveThresholdKey,
  type DerivedKey,
  signThreshold,
  thresholdMasterKey,
  type ThresholdRequest,
  type ThresholdScheme,
  verifyThreshold,
} from "./threshold/threshold-key.ts";
export { isTransportKey } from "./threshold/vetkd-key.ts";
export { openWebAuthnSignature } from "./webauthn.ts";
