// HTTP requests and responses as canisters see them: the Candid types of the gateway protocol, and
// their bytes. Tokens of streams have a type that only the canister knows and go back as they came.

import {
  decodeCandid,
  encodeCandid,
  fromIdlPrincipal,
  IDL,
  type IdlPrincipal,
} from "gyrotron/candid";

/** Name and value of a header, in the order and spelling of whoever wrote them. */
export type HeaderField = readonly [name: string, value: string];

/** What a client asked for. `url` is path and query. */
export interface CanisterRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly HeaderField[];
  readonly body: Uint8Array;
}

/** A canister's answer. */
export interface CanisterResponse {
  readonly status: number;
  readonly headers: readonly HeaderField[];
  readonly body: Uint8Array;
  /** The canister wants the same request as an update. */
  readonly isUpgrade: boolean;
  /** Where the rest of the body is. */
  readonly stream: StreamStep | undefined;
}

/** The call that gives the next part of a body. */
export interface StreamStep {
  readonly canisterId: Uint8Array;
  readonly methodName: string;
  readonly argument: Uint8Array;
}

const HEADERS = IDL.Vec(IDL.Tuple(IDL.Text, IDL.Text));
const REQUEST = IDL.Record({
  method: IDL.Text,
  url: IDL.Text,
  headers: HEADERS,
  body: IDL.Vec(IDL.Nat8),
  certificate_version: IDL.Opt(IDL.Nat16),
});
const UPDATE_REQUEST = IDL.Record({
  method: IDL.Text,
  url: IDL.Text,
  headers: HEADERS,
  body: IDL.Vec(IDL.Nat8),
});
/** A function that takes anything: what it really takes is what the token is. */
const CALLBACK = IDL.Func([IDL.Empty], [], ["query"]);
const RESPONSE = IDL.Record({
  status_code: IDL.Nat16,
  headers: HEADERS,
  body: IDL.Vec(IDL.Nat8),
  upgrade: IDL.Opt(IDL.Bool),
  streaming_strategy: IDL.Opt(
    IDL.Variant({ Callback: IDL.Record({ callback: CALLBACK, token: IDL.Unknown }) }),
  ),
});
const STREAM_PART = IDL.Record({ body: IDL.Vec(IDL.Nat8), token: IDL.Opt(IDL.Unknown) });

interface WireResponse {
  status_code: number;
  headers: [string, string][];
  body: Uint8Array;
  upgrade: [] | [boolean];
  streaming_strategy: [] | [{ Callback: { callback: [IdlPrincipal, string]; token: Token } }];
}

/** A value that knows its type on the wire. */
type Token = { type(): IDL.Type; valueOf(): unknown };

/** Argument of `http_request`: version 2 of asset certification is understood. */
export function encodeHttpRequest(request: CanisterRequest): Uint8Array {
  return encodeCandid([REQUEST], [{ ...wireRequest(request), certificate_version: [2] }]);
}

/** Argument of `http_request_update`. */
export function encodeHttpUpdateRequest(request: CanisterRequest): Uint8Array {
  return encodeCandid([UPDATE_REQUEST], [wireRequest(request)]);
}

/** @throws DecodeError `candid/decode` */
export function decodeHttpResponse(bytes: Uint8Array): CanisterResponse {
  const [response] = decodeCandid([RESPONSE], bytes) as [WireResponse];
  const [strategy] = response.streaming_strategy;
  const [canister, methodName] = strategy?.Callback.callback ?? [];
  const isStream = strategy !== undefined && canister !== undefined && methodName !== undefined;
  return {
    status: response.status_code,
    headers: response.headers,
    body: Uint8Array.from(response.body),
    isUpgrade: response.upgrade[0] === true,
    stream: isStream
      ? {
          canisterId: fromIdlPrincipal(canister),
          methodName,
          argument: encodeToken(strategy.Callback.token),
        }
      : undefined,
  };
}

/** The next part of a body, and the argument for the part after it; undefined: this was the last. @throws DecodeError */
export function decodeStreamPart(bytes: Uint8Array): {
  body: Uint8Array;
  nextArgument: Uint8Array | undefined;
} {
  // A callback may answer with the part or with an optional one.
  const [answer] = decodeCandid([IDL.Opt(STREAM_PART)], bytes) as [
    [] | [{ body: Uint8Array; token: [] | [Token] }],
  ];
  const [part] = answer;
  if (part === undefined) return { body: new Uint8Array(0), nextArgument: undefined };
  const [token] = part.token;
  return { body: Uint8Array.from(part.body), nextArgument: token && encodeToken(token) };
}

function wireRequest({ method, url, headers, body }: CanisterRequest): Record<string, unknown> {
  return { method, url, headers: headers.map(([name, value]) => [name, value]), body };
}

/** Numbers and texts come in boxes, which carry the type. */
function encodeToken(token: Token): Uint8Array {
  return encodeCandid([token.type()], [token.valueOf()]);
}
