// Consensus engines behind one contract, and the bytes of blocks.
export {
  decodeBlock,
  decodeGenesis,
  encodeBlock,
  encodeGenesis,
  type Genesis,
} from "./block-codec.ts";
export type * from "./contract.ts";
export {
  BLOCK_TRANSACTION_BYTES_MAX,
  BLOCK_TRANSACTIONS_MAX,
  MEMPOOL_BYTES_MAX,
  MEMPOOL_COUNT_MAX,
} from "./mempool.ts";
export { createSoloEngine, SOLO_IDLE_NS, type SoloHost } from "./solo.ts";
