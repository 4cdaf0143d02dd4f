// A reply before it is written: status, body and its content type. Owns no sockets.

import { utf8Bytes } from "gyrotron/base";
import { CBOR_CONTENT_TYPE, TEXT_CONTENT_TYPE } from "gyrotron/replica";

/** A reply, whole. */
export interface HttpReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Methods that the path knows, in a 405. */
  readonly allow?: string;
}

const EMPTY = new Uint8Array(0);

export function cborReply(body: Uint8Array): HttpReply {
  return { status: 200, contentType: CBOR_CONTENT_TYPE, body };
}

export function textReply(status: number, text: string): HttpReply {
  return { status, contentType: TEXT_CONTENT_TYPE, body: text === "" ? EMPTY : utf8Bytes(text) };
}
