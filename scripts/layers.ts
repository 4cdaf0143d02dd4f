// The borders of the house: which area may import which, and which packages may be imported where.
// Tidy (test/tidy/borders.test.ts) fails on every import that this file does not list.

/** Everything that the node is composed of. */
const BELOW_NODE: readonly string[] = [
  "base",
  "hash",
  "crypto",
  "candid",
  "job",
  "numerics",
  "tensor",
  "backend",
  "model",
  "learn",
  "accelerator",
  "store",
  "canister",
  "replica",
  "consensus",
];

/** Areas that each area may import, by package name (`gyrotron/base`). */
export const AREA_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  hash: ["base"],
  crypto: ["base", "hash"],
  candid: ["base", "crypto"],
  job: ["base", "hash"],
  numerics: ["base"],
  tensor: ["base", "hash", "numerics"],
  backend: ["base", "hash", "numerics", "tensor"],
  model: ["base", "hash", "numerics", "tensor"],
  learn: ["base", "hash", "numerics", "tensor", "backend", "model"],
  accelerator: ["base", "hash", "job", "tensor", "backend", "model", "learn"],
  store: ["base", "crypto"],
  canister: ["base", "crypto", "candid", "tensor"],
  replica: ["base", "crypto", "candid", "job", "canister", "store"],
  consensus: ["base", "crypto", "replica", "store"],
  testing: ["base", "crypto", "candid", "job", "replica", "store"],
  node: BELOW_NODE,
  cli: [...BELOW_NODE, "node", "testing"],
};

/** Doors besides an area's own, for those who want little of a large area. Who may import the area may use them. */
export const SIDE_DOORS: ReadonlySet<string> = new Set([
  "backend/wasm",
  "node/models",
  "node/native",
]);

/** Areas that touch the machine: clock, disk, sockets. All others are deterministic and portable. */
export const MACHINE_AREAS: ReadonlySet<string> = new Set(["node", "cli"]);

/**
 * Packages that each area may import; a package name stands for its subpaths too. Areas not listed
 * import none, so that every dependency has one door (the reasons are in docs/adr).
 */
export const PACKAGE_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  hash: ["@noble/hashes"],
  crypto: ["@noble/curves", "@noble/hashes", "cborg"],
  candid: ["@icp-sdk/core"],
  model: ["@huggingface/jinja", "@huggingface/tokenizers"],
  node: ["@icp-sdk/core", "@noble/curves", "@noble/hashes", "lmdb", "mcl-wasm", "motoko"],
  cli: ["@icp-sdk/core", "motoko"],
};

/** An area that is on a cycle of the table, or undefined if there is none. */
export function findAreaCycle(
  table: Readonly<Record<string, readonly string[]>>,
): string[] | undefined {
  const done = new Set<string>();
  const visit = (area: string, path: readonly string[]): string[] | undefined => {
    const start = path.indexOf(area);
    if (start >= 0) return [...path.slice(start), area];
    if (done.has(area)) return undefined;
    for (const next of table[area] ?? []) {
      const cycle = visit(next, [...path, area]);
      if (cycle !== undefined) return cycle;
    }
    done.add(area);
    return undefined;
  };
  for (const area of Object.keys(table)) {
    const cycle = visit(area, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
