// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 121,
    digest: "412e4d306a1d818f766d9ef9d43421bc636e902aaad5d0191ede10528a2d180d",
  },
  full: {
    cases: 147,
    digest: "323eb354e08a1137cb9df707cab557d9c9174a535dc20aac1d108ffaf5f624f0",
  },
};
