// A real node as a child process, for tests that kill it: worker threads, disk and all. Takes numbers
// of calls over the channel to its parent and reports the certified sums.
// Arguments: data folder, and the URL of the replica's module.

import { createNode } from "gyrotron/node";
import { callNumber, certifiedSum } from "./counter-calls.ts";

const [dataDir, replicaModule] = process.argv.slice(2);
const node = await createNode({ dataDir: dataDir! }, { replicaModule: new URL(replicaModule!) });
process.send!({ ready: node.status().height.toString() });

process.on("message", (n: number) => {
  void answer(n);
});

async function answer(n: number): Promise<void> {
  const call = callNumber(n);
  const outcome = await node.submitCall(call);
  process.send!({ n, sum: certifiedSum(outcome, call.content.requestId).toString() });
}
