// The conformance digests as published in docs/spec/03-op-table.md: what a device without an oracle at
// hand is measured by. They change only with the op table's version or its cases.

import type { CaseSet } from "./cases.ts";

/** Number of cases and their digest (SHA-256, hex) on every device that conforms. */
export const PUBLISHED_CONFORMANCE: Readonly<
  Record<CaseSet, { readonly cases: number; readonly digest: string }>
> = {
  quick: {
    cases: 317,
    digest: "1cfe1e9e6be668122cd3cd354341245b67656063bd79cf700ca36901ca97490f",
  },
  full: {
    cases: 355,
    digest: "960dd202831f8cb299251be4eb8a81267d5dfbf935bdd682dc147ee8f185f6ff",
  },
};
