// Statistics of queries, which leave no trace in the state by themselves: each node reports from time
// to time, under its signature, what it has answered, and the state adds it up for canister_status.

import { type Codec, codec, concatBytes, DecodeError, decodeWith, encodeWith } from "gyrotron/base";
import { CryptoError, domainSeparator, parsePublicKey, verifySignature } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { QueryUsage } from "../contract.ts";
import { lastReportKey } from "../state/keys.ts";
import { type QueryStats, queryStatsCodec } from "../state/records.ts";

const { bytes, fixedBytes, list, record, u64 } = codec;

/** First byte of a report. */
export const QUERY_REPORT_TAG = 0x02;
/** Canisters in one report, and bytes of it. */
export const REPORTED_CANISTERS_MAX = 1000;
const REPORT_BYTES_MAX = 100_000;

/** What one canister has been asked. */
export interface ReportedCanister {
  canisterId: Uint8Array;
  stats: QueryStats;
}

/** What a node has answered since its last report; numbers of its reports ascend. */
export interface QueryReport {
  number: bigint;
  canisters: ReportedCanister[];
}

interface SignedReport {
  publicKeyDer: Uint8Array;
  report: Uint8Array;
  signature: Uint8Array;
}

const reportCodec: Codec<QueryReport> = record<{ [K in keyof QueryReport]: QueryReport[K] }>({
  number: u64,
  canisters: list(
    record<{ canisterId: Uint8Array; stats: QueryStats }>({
      canisterId: bytes,
      stats: queryStatsCodec,
    }),
    36,
  ),
});

const signedCodec: Codec<SignedReport> = record<{ [K in keyof SignedReport]: SignedReport[K] }>({
  publicKeyDer: bytes,
  report: bytes,
  signature: fixedBytes(64),
});

const DOMAIN = domainSeparator("gyrotron-query-report");

/** A report as a transaction; `sign` makes an Ed25519 signature with the node's key. */
export function encodeQueryReport(
  report: QueryReport,
  publicKeyDer: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const encoded = encodeWith(reportCodec, report);
  const signature = sign(concatBytes(DOMAIN, encoded));
  const signed = encodeWith(signedCodec, { publicKeyDer, report: encoded, signature });
  return concatBytes(Uint8Array.of(QUERY_REPORT_TAG), signed);
}

/** Adds a report to the canisters' statistics; one that is not valid or not new leaves no trace. */
export function inductQueryReport(context: BlockContext, transaction: Uint8Array): void {
  const decoded = decodeReport(transaction, context.network.nodeKeys);
  if (decoded === undefined) return;
  const { node, report } = decoded;
  const { overlay } = context.state;
  const last = overlay.get(u64, lastReportKey(node));
  if (last !== undefined && report.number <= last) return;
  overlay.put(u64, lastReportKey(node), report.number);
  for (const { canisterId, stats } of report.canisters) {
    const canister = context.state.canister(canisterId);
    if (canister === undefined) continue;
    canister.queryStats = addStats(canister.queryStats, stats);
    context.state.putCanister(canister);
  }
}

/** No queries. */
export const NO_QUERIES: QueryStats = {
  calls: 0n,
  instructions: 0n,
  requestBytes: 0n,
  responseBytes: 0n,
};

/** The sum of two; it stops at what a number of state can hold. */
export function addStats(left: QueryStats, right: QueryStats): QueryStats {
  return {
    calls: sum(left.calls, right.calls),
    instructions: sum(left.instructions, right.instructions),
    requestBytes: sum(left.requestBytes, right.requestBytes),
    responseBytes: sum(left.responseBytes, right.responseBytes),
  };
}

/** The statistics of one query. */
export function statsOf({ instructions, requestBytes, responseBytes }: QueryUsage): QueryStats {
  return {
    calls: 1n,
    instructions,
    requestBytes: BigInt(requestBytes),
    responseBytes: BigInt(responseBytes),
  };
}

const MAX = (1n << 64n) - 1n;

function sum(left: bigint, right: bigint): bigint {
  return left + right > MAX ? MAX : left + right;
}

function decodeReport(
  transaction: Uint8Array,
  nodeKeys: readonly Uint8Array[],
): { node: number; report: QueryReport } | undefined {
  if (transaction.length > REPORT_BYTES_MAX) return undefined;
  try {
    const { publicKeyDer, report, signature } = decodeWith(signedCodec, transaction.subarray(1));
    const node = nodeKeys.findIndex((key) => key.toHex() === publicKeyDer.toHex());
    if (node < 0) return undefined;
    const message = concatBytes(DOMAIN, report);
    if (!verifySignature(parsePublicKey(publicKeyDer), message, signature)) return undefined;
    const decoded = decodeWith(reportCodec, report);
    return decoded.canisters.length > REPORTED_CANISTERS_MAX
      ? undefined
      : { node, report: decoded };
  } catch (error) {
    if (error instanceof DecodeError || error instanceof CryptoError) return undefined;
    throw error;
  }
}
