// Why the node's HTTP server cannot open its door. Owns no behaviour.

import { GyrotronError } from "gyrotron/base";

export type HttpServerErrorInfo =
  | { code: "http/port-in-use"; host: string; port: number }
  | { code: "http/cannot-listen"; host: string; port: number; reason: string };

/** The server could not listen. */
export class HttpServerError extends GyrotronError<HttpServerErrorInfo> {}
