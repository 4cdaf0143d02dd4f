// Replays a block log in this process, whatever flags V8 has been given, and prints a root a line.
// Argument: a file with the log, each entry in hex on a line of its own.

import { readFileSync } from "node:fs";
import process from "node:process";
import { replayBlockLog } from "gyrotron/node";
import { createReplica } from "gyrotron/replica";

const entries = readFileSync(process.argv[2]!, "utf8")
  .trim()
  .split("\n")
  .map((line) => Uint8Array.fromHex(line));
for (const { stateRoot } of replayBlockLog(entries, createReplica())) {
  process.stdout.write(`${stateRoot.toHex()}\n`);
}
