// The ICP's HTTP interface without sockets: routes, envelopes and their validity, replies.
export type {
  CallContent,
  ReadStateContent,
  RequestContent,
  RequestKind,
  SenderInfo,
} from "./content.ts";
export {
  decodeEnvelope,
  type Envelope,
  type SenderAuthentication,
  type SignedDelegation,
} from "./envelope.ts";
export {
  type AuthenticatedSender,
  authenticateSender,
  type SignatureCheck,
  type ValidationOptions,
  type ValidRequest,
  validateEnvelope,
  validateEnvelopeWith,
} from "./envelope-validation.ts";
export * from "./read-state.ts";
export { type Refusal, refuse } from "./refusal.ts";
export * from "./replies.ts";
export * from "./route.ts";
export { subnetEndpointRefusal } from "./subnet-endpoint.ts";
export { formatTimestamp } from "./timestamp.ts";
