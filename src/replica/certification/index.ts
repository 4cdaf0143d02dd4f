// The certified state tree: records, hash trees, witnesses and certificates.
export { canisterSignatureProblem, encodeCanisterSignature } from "./canister-signature.ts";
export { type CertifiedData, readCertifiedData } from "./certified-data.ts";
export {
  type Certificate,
  type CertificateDelegation,
  certificateMessage,
  decodeCertificate,
  encodeCertificate,
  verifyCertificate,
} from "./certificate.ts";
export { type CertifiedSnapshot, CertifiedTree, type TreeChange } from "./certified-tree.ts";
export {
  decodeHashTree,
  encodeHashTree,
  type HashTree,
  hashOfTree,
  type LookupResult,
  lookupPath,
  lookupSubtree,
  revealedLabels,
  treePath,
} from "./hash-tree.ts";
export {
  type CanisterMetadata,
  type CanisterPublicInfo,
  canisterPublicInfoCodec,
  type IngressStatus,
  ingressStatusCodec,
  type SubnetInfo,
  type SubnetMetrics,
  type SubnetType,
} from "./records.ts";
