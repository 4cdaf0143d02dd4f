// Operational errors of a node: what stopped it, or kept it from starting. Disk and folder: StoreError.

import { GyrotronError } from "gyrotron/base";

/** What can stop a node or keep it from starting. */
export type NodeErrorInfo =
  /** The node was closed; ask another one, or start it again. */
  | { code: "node/stopped" }
  /** An outcall to a host whose addresses are all of local networks. */
  | { code: "node/local-address"; host: string }
  /** Something failed that the state machine must not see; the node has stopped itself. */
  | { code: "node/host-failure"; what: string }
  /** The key file is missing, unreadable, or not the one this network was made with. */
  | { code: "node/keys"; path: string; reason: string }
  /** A model's files are missing, damaged or cannot run here. */
  | { code: "node/model"; path: string; reason: string }
  /** Native kernels cannot be built, loaded or trusted here. */
  | { code: "node/native"; reason: string };

/** A node that cannot start or go on. */
export class NodeError extends GyrotronError<NodeErrorInfo> {}
