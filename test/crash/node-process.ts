// A real node as a child process, for tests that kill it: worker threads, disk and all. Takes
// envelopes over the channel to its parent and sends the outcomes back. Argument: the data folder.

import { flushCompileCache } from "node:module";
import process from "node:process";
import { createNode } from "gyrotron/node";
import { requestOf } from "./canister-client.ts";

/** From the parent. */
export type ToNode =
  | { kind: "call"; number: number; envelope: Uint8Array }
  | { kind: "query"; number: number; envelope: Uint8Array }
  | { kind: "close"; number: number };

/** To the parent; errors end the process instead. */
export type FromNode =
  { kind: "ready"; height: bigint } | { kind: "answer"; number: number; answer: unknown };

const send = (message: FromNode): void => void process.send!(message);
const node = await createNode({ dataDir: process.argv[2]! });
send({ kind: "ready", height: node.status().height });
// Whoever is killed keeps no compiled code for the next life otherwise.
flushCompileCache();

process.on("message", (message: ToNode) => {
  void respond(message);
});

async function respond(message: ToNode): Promise<void> {
  const { number } = message;
  switch (message.kind) {
    case "call":
      send({
        kind: "answer",
        number,
        answer: await node.submitCall(requestOf(asBytes(message.envelope))),
      });
      break;
    case "query":
      send({
        kind: "answer",
        number,
        answer: await node.query(requestOf(asBytes(message.envelope)).content),
      });
      break;
    case "close":
      await node.close();
      send({ kind: "answer", number, answer: undefined });
      process.disconnect?.();
  }
}

function asBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
