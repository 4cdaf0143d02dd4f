// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 300,
    digest: "c4013113a92c2eef48e67cf1905868a2ddb94a5d4b571848d6fb5839db5b1db6",
  },
  full: {
    cases: 331,
    digest: "da1920dc18d07005f8509ab32cfa4611dd0c30e55a52eee6de1fe74a2b3c9d68",
  },
};
