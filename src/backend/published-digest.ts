// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 262,
    digest: "355ce54d126c3ef85b1d96e44bc5e457b08e4bf048d74507309b438ce00abde8",
  },
  full: {
    cases: 291,
    digest: "bc849b1cb3bf8123382f4371b784cc7352e1ac0f24219745c7dc51364aeffb7d",
  },
};
