// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 262,
    digest: "cde3fdfa2d070559c5317e6a5d6044b04c0ca50ec2433e2b35faa310cab8cbbd",
  },
  full: {
    cases: 291,
    digest: "2fd57123759d25b78dd5aeb951a93441911ddd2bd855b1075591ba7b3cfb2e7a",
  },
};
