// The parent's side of node-process.ts: starts a node, talks to it, kills it.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { CallOutcome, SignedQueryResult } from "gyrotron/node";
import type { CallTarget } from "./canister-client.ts";
import type { FromNode, ToNode } from "./node-process.ts";

/** What finds a checkout's modules sooner. */
const RESOLVER = new URL("../../bin/resolve-sources.js", import.meta.url).href;

type WithoutNumber<T> = T extends unknown ? Omit<T, "number"> : never;

/** A node in a process of its own. */
export class NodeChild implements CallTarget {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #isExpectedToEnd = false;
  #lastNumber = 0;
  readonly #exited: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit").then(() => this.#onExit());
    child.on("message", (message: FromNode) => {
      if (message.kind !== "answer") return;
      this.#waiting.get(message.number)?.resolve(message.answer);
      this.#waiting.delete(message.number);
    });
  }

  /** Resolves when the node takes calls. `cacheDir` keeps compiled code from one start to the next. */
  static async start(dataDir: string, cacheDir: string): Promise<NodeChild> {
    const child = fork(new URL("./node-process.ts", import.meta.url), [dataDir], {
      execArgv: ["--conditions=source", `--import=${RESOLVER}`],
      serialization: "advanced",
      env: { ...process.env, NODE_COMPILE_CACHE: cacheDir },
    });
    const node = new NodeChild(child);
    const isReady = once(child, "message").then(() => true);
    const hasExited = node.#exited.then(() => false);
    if (await Promise.race([isReady, hasExited])) return node;
    throw new TypeError("the node's process ended before it was ready");
  }

  submit(envelope: Uint8Array): Promise<CallOutcome> {
    return this.#ask({ kind: "call", envelope }) as Promise<CallOutcome>;
  }

  query(envelope: Uint8Array): Promise<SignedQueryResult> {
    return this.#ask({ kind: "query", envelope }) as Promise<SignedQueryResult>;
  }

  async close(): Promise<void> {
    this.#isExpectedToEnd = true;
    await this.#ask({ kind: "close" });
    await this.#exited;
  }

  /** As a power cut, as far as one process can have one: no handler runs. */
  async kill(): Promise<void> {
    this.#isExpectedToEnd = true;
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Never settles if the process is killed before it answers. */
  #ask(request: WithoutNumber<ToNode>): Promise<unknown> {
    const number = ++this.#lastNumber;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(number, answer);
    // A send that fails belongs to a process that has just been killed.
    this.#child.send({ ...request, number }, () => {});
    return answer.promise;
  }

  #onExit(): void {
    if (this.#isExpectedToEnd) return;
    for (const { reject } of this.#waiting.values())
      reject(new TypeError("the node's process ended"));
  }
}
