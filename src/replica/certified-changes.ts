// Which parts of a block's writes the certified tree shows: public information of canisters, the
// statuses of requests and the subnet's totals.

import { decodeWith } from "gyrotron/base";
import type { StateView, StateWrite } from "gyrotron/store";
import { canisterPublicInfoCodec, type TreeChange } from "./certification/index.ts";
import { subnetMetricsCodec } from "./cycles/accounting.ts";
import { KEY_PREFIX } from "./state/keys.ts";
import { ingressCodec } from "./state/records.ts";

/** Prefixes of the keys that the certified tree depends on. */
export const CERTIFIED_PREFIXES: readonly Uint8Array[] = [
  KEY_PREFIX.publicInfo,
  KEY_PREFIX.ingress,
  KEY_PREFIX.subnetMetrics,
];

/** The tree's changes in a list of writes; other keys are passed over. */
export function treeChangesOf(writes: Iterable<StateWrite>): TreeChange[] {
  const changes: TreeChange[] = [];
  for (const { key, value } of writes) {
    if (key[0] === KEY_PREFIX.publicInfo[0]) {
      const info = value === undefined ? undefined : decodeWith(canisterPublicInfoCodec, value);
      changes.push({ kind: "canister", id: key.slice(2), info });
    } else if (key[0] === KEY_PREFIX.ingress[0]) {
      const status = value === undefined ? undefined : decodeWith(ingressCodec, value).status;
      changes.push({ kind: "request", id: key.slice(1), status });
    } else if (key[0] === KEY_PREFIX.subnetMetrics[0]) {
      const metrics = value === undefined ? undefined : decodeWith(subnetMetricsCodec, value);
      changes.push({ kind: "subnetMetrics", id: key.slice(2), metrics });
    }
  }
  return changes;
}

/** All of a state's certified records as changes to an empty tree. */
export function treeChangesOfState(view: StateView): TreeChange[] {
  const writes: StateWrite[] = [];
  for (const prefix of CERTIFIED_PREFIXES)
    for (const [key, value] of view.range(prefix)) writes.push({ key, value });
  return treeChangesOf(writes);
}
