// Requests of a test network's canisters to the world: the test sees them and answers for the world.
// Transform functions run, limits and prices are as on any network.

import { decodeWith, encodeWith } from "gyrotron/base";
import { decodeCandid, encodeCandid, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { ed25519PublicKeyDer, signEd25519 } from "gyrotron/crypto";
import {
  encodeTaskAttestation,
  encodeTaskResult,
  headersBytes,
  HTTP_RESPONSE,
  type HttpHeader,
  KEY_PREFIX,
  type OutcallResult,
  outcallResultCodec,
  type OutcallWork,
  outsideTaskCodec,
  taskResultHash,
  TRANSFORM_ARGUMENT,
} from "gyrotron/replica";
import type { StateView } from "gyrotron/store";
import { TestError } from "./test-error.ts";

/** A request that waits for its answer. */
export interface WaitingOutcall {
  readonly number: bigint;
  readonly canister: IdlPrincipal;
  readonly url: string;
  readonly method: OutcallWork["method"];
  readonly headers: readonly HttpHeader[];
  readonly body: Uint8Array;
  readonly responseBytesMax: number;
}

/** What the world answers. */
export interface OutcallAnswer {
  readonly status?: number;
  readonly headers?: readonly HttpHeader[];
  readonly body?: Uint8Array;
}

/** What answering needs of the network. */
export interface OutcallHost {
  readonly view: StateView;
  readonly nodeSeed: Uint8Array;
  submit(transaction: Uint8Array): void;
  /** Runs a canister's transform function; its reply. @throws TestError `testing/rejected` */
  transform(canister: Uint8Array, method: string, argument: Uint8Array): Uint8Array;
}

const STATUS_OK = 200;

/** The outcalls of one network. */
export class TestOutcalls {
  readonly #host: OutcallHost;

  constructor(host: OutcallHost) {
    this.#host = host;
  }

  /** Requests without an answer, oldest first. */
  waiting(): WaitingOutcall[] {
    return this.#pending().map(({ number, work }) => {
      const { canisterId, url, method, headers, body, responseBytesMax } = work;
      const canister = toIdlPrincipal(canisterId);
      return { number, canister, url, method, headers, body, responseBytesMax };
    });
  }

  /** Answers a request with the next block. @throws TestError `testing/unknown-outcall`, or what the transform function throws */
  answer(number: bigint, answer: OutcallAnswer): void {
    const work = this.#find(number);
    const { transform, canisterId } = work;
    const { status = STATUS_OK, headers = [], body = new Uint8Array() } = answer;
    const limit = work.responseBytesMax;
    if (headersBytes(headers) + body.length > limit) {
      this.fail(number, `Http body exceeds size limit of ${limit} bytes.`, { isTransient: false });
      return;
    }
    const response = { status: BigInt(status), headers: [...headers], body };
    let bytes = encodeCandid([HTTP_RESPONSE], [response]);
    if (transform !== undefined) {
      const { method, context } = transform;
      const argument = encodeCandid([TRANSFORM_ARGUMENT], [{ response, context }]);
      bytes = this.#host.transform(canisterId, method, argument);
      decodeCandid([HTTP_RESPONSE], bytes);
    }
    this.#deliver(number, { kind: "response", bytes });
  }

  /** Lets a request fail with the next block: for a while, as connections do, or for good. @throws TestError `testing/unknown-outcall` */
  fail(
    number: bigint,
    message: string,
    { isTransient = true }: { isTransient?: boolean } = {},
  ): void {
    this.#find(number);
    this.#deliver(number, { kind: "failed", isTransient, message });
  }

  #pending(): { number: bigint; work: OutcallWork }[] {
    const tasks = [...this.#host.view.range(KEY_PREFIX.outsideTask)];
    return tasks.flatMap(([, bytes]) => {
      const { number, work } = decodeWith(outsideTaskCodec, bytes);
      return work.kind === "outcall" ? [{ number, work }] : [];
    });
  }

  #find(number: bigint): OutcallWork {
    const found = this.#pending().find((task) => task.number === number);
    if (found === undefined) throw new TestError({ code: "testing/unknown-outcall", number });
    return found.work;
  }

  #deliver(number: bigint, result: OutcallResult): void {
    const { nodeSeed } = this.#host;
    const bytes = encodeWith(outcallResultCodec, result);
    const key = ed25519PublicKeyDer(nodeSeed);
    const sign = (message: Uint8Array): Uint8Array => signEd25519(nodeSeed, message);
    this.#host.submit(encodeTaskAttestation(number, taskResultHash(bytes), key, sign));
    this.#host.submit(encodeTaskResult(number, bytes));
  }
}
