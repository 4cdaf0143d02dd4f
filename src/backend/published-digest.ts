// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 273,
    digest: "0914d08d720c99ef5651c2d3a968075802a162c48d8e76c0041c14d816e5526a",
  },
  full: {
    cases: 302,
    digest: "9a980a947c888b5da82b32d1ceb752d32a0150032cad667943d5f30a23c23da9",
  },
};
