// The signing thread: answers one request after the other.

import { parentPort, workerData } from "node:worker_threads";
import { present } from "gyrotron/base";
import { setCryptoProvider, signThreshold } from "gyrotron/crypto";
import { opensslPrimitives } from "../crypto-provider.ts";
import type { SigningAnswer, SigningRequest } from "./signer.ts";

const port = present(parentPort, "this file is a worker");
const seed = workerData as Uint8Array;
setCryptoProvider(opensslPrimitives);

port.on("message", ({ number, work }: SigningRequest) => {
  port.postMessage(answerTo(number, work));
});

function answerTo(number: number, work: SigningRequest["work"]): SigningAnswer {
  try {
    return { number, signature: signThreshold(seed, work.keyName, work), what: "" };
  } catch (error) {
    return { number, signature: undefined, what: String(error) };
  }
}
