// Bytes of blocks and of the genesis record, as the block log keeps them. Total decoders.

import { codec, type Codec, decodeWith, encodeWith } from "gyrotron/base";
import type { Block, NetworkConfig } from "gyrotron/replica";

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
  const { kind, ...block } = decodeEntry(bytes, "block");
  return block;
}

/** Bytes of the genesis record. */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  return encodeWith(entryCodec, { kind: "genesis", ...genesis });
}

/** @throws DecodeError `codec/decode` */
export function decodeGenesis(bytes: Uint8Array): Genesis {
  const { kind, ...genesis } = decodeEntry(bytes, "genesis");
  return genesis;
}

type Entry = ({ kind: "genesis" } & Genesis) | ({ kind: "block" } & Block);

const configCodec: Codec<NetworkConfig> = codec.record<{
  [K in keyof NetworkConfig]: NetworkConfig[K];
}>({
  subnetId: codec.bytes,
  rootKeyDer: codec.bytes,
  nodeKeys: codec.list(codec.bytes, 4),
  priceNodes: codec.u32,
});

const entryCodec: Codec<Entry> = codec.variant<Entry>({
  genesis: codec.record<{ config: NetworkConfig; timeNs: bigint }>({
    config: configCodec,
    timeNs: codec.u64,
  }),
  block: codec.record<{ [K in keyof Block]: Block[K] }>({
    height: codec.u64,
    timeNs: codec.u64,
    randomness: codec.fixedBytes(32),
    transactions: codec.list(codec.bytes, 4),
  }),
});

function decodeEntry<K extends Entry["kind"]>(
  bytes: Uint8Array,
  kind: K,
): Extract<Entry, { kind: K }> {
  // Every length is checked against the bytes there are, so a block needs no limit of its own here.
  let expected = true;
  const entry = decodeWith<Entry>(
    {
      write: entryCodec.write,
      read(reader) {
        const value = entryCodec.read(reader);
        expected = value.kind === kind;
        if (!expected) throw reader.error(`not a ${kind}`);
        return value;
      },
    },
    bytes,
  );
  return entry as Extract<Entry, { kind: K }>;
}
