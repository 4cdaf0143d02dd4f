// What the main thread asks of the one that reads the state, and what comes back.

import type { ConsoleLine, IngressContent, QueryResult, QueryUsage } from "gyrotron/replica";
import type { ArchivedReceipt, ReceiptSelector } from "./jobs/receipt-archive.ts";

/** Something to find out without changing the state. */
export type Inquiry = {
  /** The height that a certificate is of, if one matters; the state must have reached it. */
  height: bigint;
} & (
  | { kind: "query"; content: IngressContent; certificate: Uint8Array | undefined }
  | { kind: "precheck"; content: IngressContent }
  /** Proofs are in the state of exactly this height, for its certificate to show. */
  | { kind: "receipts"; selector: ReceiptSelector }
);

/** What an inquiry found. */
export type Findings =
  /** `result` is undefined where a pre-check accepts. Time of the state, ns. */
  | {
      kind: "found";
      result: QueryResult | undefined;
      timeNs: bigint;
      console: ConsoleLine[];
      usage: QueryUsage[];
    }
  | { kind: "receipts"; receipts: ArchivedReceipt[] }
  /** The state is ahead of the certificate: ask again with one of this height or later. */
  | { kind: "moved"; height: bigint };
