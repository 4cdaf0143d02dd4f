// Bytes of blocks and of the genesis record, as the block log keeps them. Total decoders.

import { codec, type Codec, DecodeError, decodeWith, encodeWith } from "gyrotron/base";
import { type Block, type NetworkConfig, networkCodec } from "gyrotron/replica";

/** What the chain starts from: entry 0 of the block log. Time in ns since 1970. */
export interface Genesis {
  config: NetworkConfig;
  timeNs: bigint;
}

/** Bytes of a block. */
export function encodeBlock(block: Block): Uint8Array {
  return encodeWith(entryCodec, { kind: "block", ...block });
}

/** @throws DecodeError `codec/decode` */
export function decodeBlock(bytes: Uint8Array): Block {
  const { height, timeNs, randomness, proposer, transactions } = decodeEntry(bytes, "block");
  return { height, timeNs, randomness, proposer, transactions };
}

/** Bytes of the genesis record. */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  return encodeWith(entryCodec, { kind: "genesis", ...genesis });
}

/** @throws DecodeError `codec/decode` */
export function decodeGenesis(bytes: Uint8Array): Genesis {
  const { config, timeNs } = decodeEntry(bytes, "genesis");
  return { config, timeNs };
}

type Entry = ({ kind: "genesis" } & Genesis) | ({ kind: "block" } & Block);

const entryCodec: Codec<Entry> = codec.variant<Entry>({
  genesis: codec.record<{ config: NetworkConfig; timeNs: bigint }>({
    config: networkCodec,
    timeNs: codec.u64,
  }),
  block: codec.record<{ [K in keyof Block]: Block[K] }>({
    height: codec.u64,
    timeNs: codec.u64,
    randomness: codec.fixedBytes(32),
    proposer: codec.bytes,
    transactions: codec.list(codec.bytes, 4),
  }),
});

/** Every length is checked against the bytes there are, so a block needs no limit of its own here. */
function decodeEntry<K extends Entry["kind"]>(
  bytes: Uint8Array,
  kind: K,
): Extract<Entry, { kind: K }> {
  const entry = decodeWith(entryCodec, bytes);
  if (entry.kind !== kind) {
    throw new DecodeError({ code: "codec/decode", what: `not a ${kind}`, offset: 0 });
  }
  return entry as Extract<Entry, { kind: K }>;
}
