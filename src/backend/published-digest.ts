// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 300,
    digest: "026d59513a21533311d2f4b0bb48b92f74ff0d4a4c8f6e78c1276521ae7ae167",
  },
  full: {
    cases: 302,
    digest: "9a980a947c888b5da82b32d1ceb752d32a0150032cad667943d5f30a23c23da9",
  },
};
