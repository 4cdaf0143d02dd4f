// The record of what happened to a canister's code and controllers, as state keeps it.

import { type Codec, codec } from "gyrotron/base";

const { bytes, fixedBytes, list, oneOf, option, record, u64, variant } = codec;

/** Who made a change; `version` is what a canister said its own version was. */
export type ChangeOrigin =
  | { kind: "user"; id: Uint8Array }
  | { kind: "canister"; id: Uint8Array; version: bigint | undefined };

/** What changed. */
export type ChangeDetails =
  | { kind: "creation"; controllers: Uint8Array[]; environmentHash: Uint8Array | undefined }
  | { kind: "codeUninstall" }
  | { kind: "codeDeployment"; mode: "install" | "reinstall" | "upgrade"; moduleHash: Uint8Array }
  | {
      kind: "loadSnapshot";
      /** undefined: the canister's own. */
      fromCanister: Uint8Array | undefined;
      snapshotId: Uint8Array;
      version: bigint;
      takenAtNs: bigint;
      source: "taken" | "uploaded";
    }
  | { kind: "controllersChange"; controllers: Uint8Array[] };

/** One change; `version` is the canister's after it. */
export interface CanisterChange {
  timeNs: bigint;
  version: bigint;
  origin: ChangeOrigin;
  details: ChangeDetails;
}

/** How many changes there were, and the last of them, oldest first. */
export interface CanisterHistory {
  total: bigint;
  changes: CanisterChange[];
}

const originCodec: Codec<ChangeOrigin> = variant<ChangeOrigin>({
  user: record<{ id: Uint8Array }>({ id: bytes }),
  canister: record<{ id: Uint8Array; version: bigint | undefined }>({
    id: bytes,
    version: option(u64),
  }),
});

const detailsCodec: Codec<ChangeDetails> = variant<ChangeDetails>({
  creation: record<{ controllers: Uint8Array[]; environmentHash: Uint8Array | undefined }>({
    controllers: list(bytes, 4),
    environmentHash: option(fixedBytes(32)),
  }),
  codeUninstall: record({}),
  codeDeployment: record<{ mode: "install" | "reinstall" | "upgrade"; moduleHash: Uint8Array }>({
    mode: oneOf("install", "reinstall", "upgrade"),
    moduleHash: fixedBytes(32),
  }),
  loadSnapshot: record<{
    fromCanister: Uint8Array | undefined;
    snapshotId: Uint8Array;
    version: bigint;
    takenAtNs: bigint;
    source: "taken" | "uploaded";
  }>({
    fromCanister: option(bytes),
    snapshotId: bytes,
    version: u64,
    takenAtNs: u64,
    source: oneOf("taken", "uploaded"),
  }),
  controllersChange: record<{ controllers: Uint8Array[] }>({ controllers: list(bytes, 4) }),
});

export const historyCodec: Codec<CanisterHistory> = record<{
  [K in keyof CanisterHistory]: CanisterHistory[K];
}>({
  total: u64,
  changes: list(
    record<{ [K in keyof CanisterChange]: CanisterChange[K] }>({
      timeNs: u64,
      version: u64,
      origin: originCodec,
      details: detailsCodec,
    }),
    20,
  ),
});
