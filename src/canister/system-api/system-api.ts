// The whole `ic0` module, made once per runtime: every row of the rules has its function here.

import { argumentCalls } from "./arguments.ts";
import { outgoingCalls } from "./calls.ts";
import { costCalls } from "./costs.ts";
import { cyclesCalls } from "./cycles.ts";
import { environmentCalls, environmentVariableCalls } from "./environment.ts";
import type { Host } from "./host.ts";
import { replyCalls } from "./reply.ts";
import type { SystemCalls } from "./rules.ts";
import { stableMemoryCalls } from "./stable-memory.ts";

/** Functions of the module `ic0` that act on the host's running execution. */
export function createSystemApi(
  host: Host,
  formatPrincipal: (id: Uint8Array) => string,
): SystemCalls {
  return {
    ...argumentCalls(host),
    ...replyCalls(host),
    ...cyclesCalls(host),
    ...outgoingCalls(host, formatPrincipal),
    ...stableMemoryCalls(host),
    ...environmentCalls(host),
    ...environmentVariableCalls(host),
    ...costCalls(host),
  };
}
