// Signs for canisters with the network's keys, in a thread of its own that starts with the first
// request: a derived key takes tenths of a second, and HTTP must not wait for it.

import { Worker } from "node:worker_threads";
import type { SigningWork } from "gyrotron/replica";
import { NodeError } from "../node-error.ts";

/** Makes signatures and encrypted keys. */
export interface Signer {
  sign(work: SigningWork): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** What the worker is asked, and what it answers. */
export interface SigningRequest {
  number: number;
  work: SigningWork;
}

export interface SigningAnswer {
  number: number;
  /** undefined: it failed, and `what` says why. */
  signature: Uint8Array | undefined;
  what: string;
}

/** A signer with the network's seed. */
export function createSigner(seed: Uint8Array): Signer {
  return new ThreadedSigner(seed);
}

class ThreadedSigner implements Signer {
  readonly #seed: Uint8Array;
  readonly #open = new Map<number, PromiseWithResolvers<Uint8Array>>();
  #worker: Worker | undefined;
  #lastNumber = 0;

  constructor(seed: Uint8Array) {
    this.#seed = seed;
  }

  sign(work: SigningWork): Promise<Uint8Array> {
    this.#worker ??= this.#start();
    const request: SigningRequest = { number: ++this.#lastNumber, work };
    const answer = Promise.withResolvers<Uint8Array>();
    this.#open.set(request.number, answer);
    this.#worker.postMessage(request);
    return answer.promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#fail("the node was stopped");
  }

  #start(): Worker {
    // This file runs from source or compiled; the worker beside it likewise.
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    const worker = new Worker(new URL(`./signer-worker${extension}`, import.meta.url), {
      name: "signer",
      workerData: this.#seed,
    });
    worker.unref();
    worker.on("message", ({ number, signature, what }: SigningAnswer) => {
      const answer = this.#open.get(number);
      this.#open.delete(number);
      if (signature === undefined) answer?.reject(failure(what));
      else answer?.resolve(signature);
    });
    worker.on("error", (error) => this.#fail(String(error)));
    return worker;
  }

  #fail(what: string): void {
    this.#worker = undefined;
    for (const answer of this.#open.values()) answer.reject(failure(what));
    this.#open.clear();
  }
}

function failure(what: string): NodeError {
  return new NodeError({ code: "node/host-failure", what: `signing: ${what}` });
}
