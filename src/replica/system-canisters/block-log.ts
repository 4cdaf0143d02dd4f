// ICRC-3 over a ledger: its blocks as generic values, and the certificate of the newest one.

import { encodeUleb128, utf8Bytes } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import { encodeHashTree } from "../certification/hash-tree.ts";
import { createLeaf, createLevel, type Level, treeHash } from "../certification/label-trie.ts";
import { createWitness } from "../certification/witness.ts";
import { setCertifiedData } from "../execution/run.ts";
import { blockValue } from "./block-value.ts";
import * as types from "./icrc-types.ts";
import { Ledger, type LedgerRules } from "./ledger.ts";
import type { LedgerTotals } from "./ledger-record.ts";
import { constant, type MethodTable, query } from "./method.ts";

/** Blocks in one answer. */
const BLOCKS_MAX = 100;
const RANGES_MAX = 100;
const LAST_INDEX = utf8Bytes("last_block_index");
const LAST_HASH = utf8Bytes("last_block_hash");
const BLOCK_TYPES: readonly [string, number][] = [
  ["1burn", 1],
  ["1mint", 1],
  ["1xfer", 1],
  ["2approve", 2],
  ["2xfer", 2],
];

/** The methods for a ledger whose tip is certified. */
export function blockLogMethods(rules: LedgerRules): MethodTable {
  return {
    icrc3_get_blocks: query(
      types.GET_BLOCKS_ARG,
      types.GET_BLOCKS_RESULT,
      ({ state }, ranges: types.GivenRanges) => {
        const ledger = new Ledger(state, rules);
        const { blockCount } = ledger.totals();
        const blocks = indicesOf(ranges, blockCount).map((id) => {
          const block = ledger.block(id);
          return { id, block: block && blockValue(rules, block) };
        });
        return { log_length: blockCount, blocks, archived_blocks: [] };
      },
    ),
    icrc3_get_archives: query(types.GET_ARCHIVES_ARG, types.GET_ARCHIVES_RESULT, () => []),
    icrc3_get_tip_certificate: constant(types.TIP_CERTIFICATE, ({ state }, call) => {
      const tree = tipTree(new Ledger(state, rules).totals());
      if (tree === undefined || call.dataCertificate === undefined) return [];
      const witness = createWitness(tree, [[LAST_INDEX], [LAST_HASH]]);
      return [{ certificate: call.dataCertificate, hash_tree: encodeHashTree(witness) }];
    }),
    icrc3_supported_block_types: constant(types.BLOCK_TYPES, () =>
      BLOCK_TYPES.map(([block_type, standard]) => ({
        block_type,
        url: `https://github.com/dfinity/ICRC-1/blob/main/standards/ICRC-${standard}/README.md`,
      })),
    ),
  };
}

/** Certifies the newest block. */
export function certifyTip(
  rules: LedgerRules,
  context: Pick<BlockContext, "state">,
  totals: LedgerTotals,
): void {
  const tree = tipTree(totals);
  if (tree !== undefined) setCertifiedData(context, rules.canisterId, treeHash(tree));
}

/** Block numbers of the ranges in order, as many as one answer holds. */
export function indicesOf(ranges: types.GivenRanges, blockCount: bigint): bigint[] {
  const indices: bigint[] = [];
  for (const { start, length } of ranges.slice(0, RANGES_MAX)) {
    for (let index = start; index < start + length && index < blockCount; index++) {
      if (indices.length === BLOCKS_MAX) return indices;
      indices.push(index);
    }
  }
  return indices;
}

function tipTree({ blockCount, lastHash }: LedgerTotals): Level | undefined {
  if (lastHash === undefined) return undefined;
  return createLevel([
    [LAST_HASH, createLeaf(lastHash)],
    [LAST_INDEX, createLeaf(encodeUleb128(blockCount - 1n))],
  ]);
}
