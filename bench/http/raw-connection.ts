// A client of one keep-alive connection that writes prepared bytes and reads a reply: as little work
// as possible on the measuring side.

import { connect, type Socket } from "node:net";
import { assert } from "gyrotron/base";

/** A reply without its headers. */
export interface RawReply {
  readonly status: number;
  readonly body: Uint8Array;
}

const HEAD_END = Buffer.from("\r\n\r\n");

/** A POST request as it goes over the wire. */
export function encodePost(path: string, body: Uint8Array): Uint8Array {
  const head = [
    `POST ${path} HTTP/1.1`,
    "host: 127.0.0.1",
    "content-type: application/cbor",
    `content-length: ${body.length}`,
  ].join("\r\n");
  return Buffer.concat([Buffer.from(head), HEAD_END, body]);
}

/** One connection; one request at a time. */
export class RawConnection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: ((reply: RawReply) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
  }

  static open(port: number): Promise<RawConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<RawConnection>();
    const socket = connect(port, "127.0.0.1", () => resolve(new RawConnection(socket)));
    socket.once("error", reject);
    return promise;
  }

  /** Sends the bytes and waits for the last byte of the reply. */
  send(request: Uint8Array): Promise<RawReply> {
    assert(this.#waiting === undefined, "one request at a time");
    const { promise, resolve } = Promise.withResolvers<RawReply>();
    this.#waiting = resolve;
    this.#socket.write(request);
    return promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const headEnd = this.#received.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#received.toString("latin1", 0, headEnd);
    const bodyStart = headEnd + HEAD_END.length;
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#received.length < bodyStart + length) return;
    const body = new Uint8Array(this.#received.subarray(bodyStart, bodyStart + length));
    this.#received = this.#received.subarray(bodyStart + length);
    const answer = this.#waiting;
    this.#waiting = undefined;
    answer?.({ status: Number(head.slice(9, 12)), body });
  }
}
