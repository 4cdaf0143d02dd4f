// The node's door for HTTP: listens, reads bodies up to the limit, answers CORS, and hands requests
// of the ICP's interface to ApiHandler. Until a node is attached it answers 503, so that a port in
// use is known before any state is opened.

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HTTP_BODY_BYTES_MAX, present } from "gyrotron/base";
import { OVERLOADED_TEXT } from "gyrotron/replica";
import type { NodeCore } from "../node-contract.ts";
import { ApiHandler } from "./api-handler.ts";
import { Gateway } from "./gateway/gateway.ts";
import { type GatewayAddress, gatewayAddress } from "./gateway/gateway-address.ts";
import { HttpServerError } from "./http-error.ts";
import { type HttpReply, textReply } from "./http-reply.ts";
import { isJobPath, isPreviewPath, JobHandler } from "./job-handler.ts";

/** Where to listen. */
export interface HttpServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** Time in which a request must have arrived; 60 s unless given. */
  requestMsMax?: number;
  /** Time in which a request must be answered; 120 s unless given. */
  replyMsMax?: number;
}

/** Pages for people, below `/_/`. */
export interface PageHandler {
  handle(method: string, url: string, body: Uint8Array): Promise<HttpReply>;
}

/** How long an idle connection stays open; longer than clients keep theirs. */
const KEEP_ALIVE_MS = 75_000;
const REQUEST_MS_MAX = 60_000;
/** How often connections are looked through for requests that do not arrive. */
const CONNECTION_CHECK_MS = 30_000;
/** More than any query may take, and than the wait for a call's answer. */
const REPLY_MS_MAX = 120_000;
const CLOSE_MS_MAX = 3_000;
const CLOSE_SWEEP_MS = 20;
const CORS_HEADERS = [
  "access-control-allow-origin",
  "*",
  "access-control-allow-methods",
  "GET, POST, OPTIONS",
  "access-control-allow-headers",
  "authorization, accept, content-type",
  "access-control-max-age",
  "600",
];
const STARTING = textReply(503, "The node is starting.");
const TOO_LARGE = textReply(
  413,
  `The request body is larger than the max allowed ${HTTP_BODY_BYTES_MAX} bytes.`,
);
const METHOD_NOT_ALLOWED = textReply(405, "This path takes GET requests.");
const FAILED = textReply(503, OVERLOADED_TEXT);
const TIMED_OUT = textReply(504, "The request timed out.");

/** A listening server. */
export class HttpServer {
  readonly #server: Server;
  #api: ApiHandler | undefined;
  #jobs: JobHandler | undefined;
  #gateway: Gateway | undefined;
  #pages: PageHandler | undefined;

  readonly #replyMsMax: number;

  private constructor({ requestMsMax = REQUEST_MS_MAX, replyMsMax }: HttpServerOptions) {
    this.#replyMsMax = replyMsMax ?? REPLY_MS_MAX;
    this.#server = createServer(
      {
        keepAliveTimeout: KEEP_ALIVE_MS,
        requestTimeout: requestMsMax,
        headersTimeout: requestMsMax,
        connectionsCheckingInterval: Math.min(CONNECTION_CHECK_MS, requestMsMax),
      },
      (request, response) => this.#handle(request, response),
    );
  }

  /** Starts to listen. @throws HttpServerError */
  static listen(options: HttpServerOptions): Promise<HttpServer> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpServer>();
    const { host, port } = options;
    const server = new HttpServer(options);
    server.#server.once("error", (error: NodeJS.ErrnoException) => {
      const info =
        error.code === "EADDRINUSE"
          ? ({ code: "http/port-in-use", host, port } as const)
          : ({ code: "http/cannot-listen", host, port, reason: error.message } as const);
      reject(new HttpServerError(info, { cause: error }));
    });
    server.#server.listen({ host, port }, () => resolve(server));
    return promise;
  }

  /** The port in use, also if any was asked for. */
  get port(): number {
    return (present(this.#server.address(), "the server is listening") as AddressInfo).port;
  }

  /** Answers requests from this node from now on, and those below `/_/` from `pages`. */
  attach(node: NodeCore, pages?: PageHandler): void {
    this.#pages = pages;
    this.#api = new ApiHandler(node);
    this.#jobs = new JobHandler(node);
    this.#gateway = new Gateway(node);
  }

  /** Stops listening, lets running requests end for a moment, then cuts them. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    // A connection becomes idle when its last reply is out, and would then stay open for a while.
    const sweep = setInterval(() => this.#server.closeIdleConnections(), CLOSE_SWEEP_MS);
    const limit = setTimeout(() => this.#server.closeAllConnections(), CLOSE_MS_MAX);
    await promise;
    clearInterval(sweep);
    clearTimeout(limit);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    response.sendDate = false;
    const { method = "GET", url = "/" } = request;
    const address = addressOf(request);
    if (method === "OPTIONS" && address === undefined) {
      response.writeHead(204, CORS_HEADERS).end();
      return;
    }
    const api = this.#api;
    if (api === undefined) {
      send(response, STARTING);
      return;
    }
    if (address !== undefined) {
      readBody(request, response, (body) => {
        void this.#gateway?.handle(address, request, body, response);
      });
      return;
    }
    if (this.#pages !== undefined && isPagePath(url)) {
      const pages = this.#pages;
      readBody(request, response, (body) => {
        pages.handle(method, url, body).then(
          (reply) => send(response, reply),
          () => send(response, FAILED),
        );
      });
      return;
    }
    if (this.#jobs !== undefined && isJobPath(url)) {
      this.#handleJob(this.#jobs, request, response);
      return;
    }
    if (method !== "POST") {
      send(response, api.get(method, url));
      return;
    }
    // Refusals by URL and header need no body.
    const route = api.postRoute(url, request.headers["content-type"]);
    if ("status" in route) {
      send(response, route);
      request.resume();
      return;
    }
    readBody(request, response, (body) => {
      const reply = api.post(route, body);
      if (reply instanceof Promise) this.#sendInTime(response, reply);
      else send(response, reply);
    });
  }

  /** Whoever waits is told when it takes too long; what comes later is dropped. */
  #sendInTime(response: ServerResponse, reply: Promise<HttpReply>): void {
    const limit = setTimeout(() => send(response, TIMED_OUT), this.#replyMsMax);
    const finish = (done: HttpReply): void => {
      clearTimeout(limit);
      if (!response.headersSent) send(response, done);
    };
    reply.then(finish, () => finish(FAILED));
  }

  #handleJob(jobs: JobHandler, request: IncomingMessage, response: ServerResponse): void {
    const { method, url = "/" } = request;
    if (method === "POST" && isPreviewPath(url)) {
      readBody(request, response, (body) => {
        const reply = jobs.preview(body, request, response);
        if (reply !== undefined) send(response, reply);
      });
      return;
    }
    request.resume();
    if (method !== "GET") send(response, { ...METHOD_NOT_ALLOWED, allow: "GET, OPTIONS" });
    else void jobs.get(url).then((reply) => send(response, reply));
  }
}

function isPagePath(url: string): boolean {
  return url.startsWith("/_/");
}

/** The canister that a request is for as a web site: the node's own paths are not. */
function addressOf(request: IncomingMessage): GatewayAddress | undefined {
  const { url = "/", headers } = request;
  if (url.startsWith("/api/") || isJobPath(url) || isPagePath(url)) return undefined;
  return gatewayAddress(headers.host, url, headers.referer);
}

function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  use: (body: Uint8Array) => void,
): void {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > HTTP_BODY_BYTES_MAX) {
    refuseBody(request, response);
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > HTTP_BODY_BYTES_MAX) {
      chunks.length = 0;
      request.removeAllListeners("data").removeAllListeners("end");
      refuseBody(request, response);
      return;
    }
    chunks.push(chunk);
  });
  request.on("end", () => {
    const [only] = chunks;
    const whole = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size);
    // A plain view: Buffer's slice shares memory where Uint8Array's copies, which decoders rely on.
    use(new Uint8Array(whole.buffer, whole.byteOffset, whole.length));
  });
}

/** Answers at once and ends the connection, so that the rest is not read. */
function refuseBody(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("connection", "close");
  response.once("finish", () => request.destroy());
  send(response, TOO_LARGE);
}

function send(response: ServerResponse, reply: HttpReply): void {
  const headers = [
    "content-type",
    reply.contentType,
    "content-length",
    String(reply.body.length),
    "access-control-allow-origin",
    "*",
  ];
  if (reply.allow !== undefined) headers.push("allow", reply.allow);
  response.writeHead(reply.status, headers);
  response.end(reply.body);
}
