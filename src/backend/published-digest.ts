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
    cases: 335,
    digest: "a8741ac7e663854579c9d2f36dbabec8486fbf3fcf2039d90551e7c537b7acaa",
  },
};
