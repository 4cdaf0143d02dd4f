// The certified face of the state: public records, the tree over them, and BLS certificates. Fed with
// what each durable block changed; signs a block's tree at most once, when first asked.

import { assert, decodeWith } from "gyrotron/base";
import { canisterIdFromU64, selfAuthenticating, signBls } from "gyrotron/crypto";
import {
  canisterPublicInfoCodec,
  certificateMessage,
  type CertifiedSnapshot,
  CertifiedTree,
  dataCertificatePaths,
  encodeCertificate,
  ingressCodec,
  ingressKey,
  type IngressRecord,
  type IngressStatus,
  type NetworkConfig,
  publicInfoKey,
  type TreeChange,
  treeChangesOf,
  treeChangesOfState,
} from "gyrotron/replica";
import { MemoryView, type StateHeader, type StateWrite } from "gyrotron/store";
import type { PublicState } from "./node-contract.ts";

type Paths = readonly (readonly Uint8Array[])[];

/** Certificates over the last durable block. */
export class Certifier {
  readonly publicState: PublicState;
  readonly #view: MemoryView;
  readonly #tree = new CertifiedTree();
  readonly #rootSecret: Uint8Array;
  #header: StateHeader;
  #snapshot: CertifiedSnapshot;
  #signature: Uint8Array | undefined;
  #dataCertificates = new Map<string, Uint8Array>();

  constructor(
    rootSecret: Uint8Array,
    config: NetworkConfig,
    header: StateHeader,
    publicEntries: readonly (readonly [key: Uint8Array, value: Uint8Array])[],
  ) {
    this.#rootSecret = rootSecret;
    this.#view = new MemoryView(publicEntries);
    this.publicState = createPublicState(this.#view);
    this.#tree.apply([subnetChange(config)]);
    this.#tree.apply(treeChangesOfState(this.#view));
    this.#header = header;
    this.#snapshot = this.#certify(header);
  }

  get header(): StateHeader {
    return this.#header;
  }

  /** Follows a durable block; gives the ids of the requests that it answered. */
  advance(header: StateHeader, publicWrites: readonly StateWrite[]): Uint8Array[] {
    assert(header.height === this.#header.height + 1n, "blocks are certified in order");
    const changes = treeChangesOf(publicWrites);
    this.#view.apply(publicWrites);
    this.#tree.apply(changes);
    this.#header = header;
    this.#snapshot = this.#certify(header);
    return changes.flatMap((change) =>
      change.kind === "request" && isAnswered(change.status) ? [change.id] : [],
    );
  }

  /** Whether a request is in the state, and has its answer. */
  requestProgress(requestId: Uint8Array): "unknown" | "open" | "answered" {
    const value = this.#view.get(ingressKey(requestId));
    if (value === undefined) return "unknown";
    return isAnswered(decodeIngress(value).status) ? "answered" : "open";
  }

  /** Certificate of the subtrees at `paths` plus /time. */
  certificate(paths: Paths): Uint8Array {
    this.#signature ??= signBls(this.#rootSecret, certificateMessage(this.#snapshot.rootHash));
    return encodeCertificate(this.#snapshot.witness(paths), this.#signature);
  }

  /** What a canister gets from ic0.data_certificate in a query. */
  dataCertificate(canisterId: Uint8Array): Uint8Array {
    const name = canisterId.toHex();
    const certificate =
      this.#dataCertificates.get(name) ?? this.certificate(dataCertificatePaths(canisterId));
    this.#dataCertificates.set(name, certificate);
    return certificate;
  }

  #certify(header: StateHeader): CertifiedSnapshot {
    this.#tree.root(header.timeNs, header.stateRoot);
    this.#signature = undefined;
    this.#dataCertificates = new Map();
    return this.#tree.snapshot();
  }
}

function createPublicState(view: MemoryView): PublicState {
  return {
    view,
    request(requestId) {
      const value = view.get(ingressKey(requestId));
      return value && decodeIngress(value);
    },
    canister(canisterId) {
      const value = view.get(publicInfoKey(canisterId));
      return value && decodeWith(canisterPublicInfoCodec, value);
    },
  };
}

/** The one subnet: all canister ids are its own. */
function subnetChange(config: NetworkConfig): TreeChange {
  const nodes = config.nodeKeys.map((publicKeyDer) => ({
    id: selfAuthenticating(publicKeyDer),
    publicKeyDer,
  }));
  const range = [canisterIdFromU64(0n), canisterIdFromU64(2n ** 64n - 1n)] as const;
  const info = {
    publicKeyDer: config.rootKeyDer,
    type: "application",
    canisterRanges: [range],
    nodes,
  } as const;
  return { kind: "subnet", id: config.subnetId, info };
}

function decodeIngress(value: Uint8Array): IngressRecord {
  return decodeWith(ingressCodec, value);
}

function isAnswered(status: IngressStatus | undefined): boolean {
  return status !== undefined && status.kind !== "received" && status.kind !== "processing";
}
