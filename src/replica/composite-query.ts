// Queries with their calls to other queries: evaluated depth first on a copy of the state that lives
// as long as the evaluation. Calls see what earlier callbacks left in memory; nothing stays.

import { EMPTY_BYTES, QUERY_INSTRUCTIONS_MAX } from "gyrotron/base";
import type { ExecutionResult, OutgoingCall } from "gyrotron/canister";
import { isManagementCanister } from "gyrotron/crypto";
import { imageSource, installedModule, type ReadContext } from "./block-context.ts";
import type { ConsoleLine, IngressContent, QueryUsage } from "./contract.ts";
import { missingFor } from "./cycles/balance.ts";
import { systemCallContext } from "./execution/call-contexts.ts";
import { consoleLines } from "./execution/logs.ts";
import { executionContext, responseOf, type RunRequest } from "./execution/run.ts";
import { queryManagement } from "./management/dispatch.ts";
import { isNativeCanister } from "./native-canisters.ts";
import {
  canisterFrozen,
  canisterNotFound,
  canisterStoppedForQueries,
  canisterStopping,
  didNotReply,
  ErrorCode,
  methodNotFound,
  reject,
  type Reject,
  rejectForCanister,
  trapReject,
  wasmModuleNotFound,
} from "./reject.ts";
import type { CanisterRecord, Response } from "./state/records.ts";
import { querySystemCanister } from "./system-canisters/dispatch.ts";
import { isSystemCanister } from "./system-canisters/ids.ts";

/** Calls below each other, the first query counted. */
const DEPTH_MAX = 6;
/** Instructions counted for each call besides what it runs. */
const CALL_INSTRUCTIONS = 50_000_000n;

/** A query to one canister, from a user or from a query. */
interface QueryCall {
  caller: Uint8Array;
  callerInfo: { data: Uint8Array; signer: Uint8Array } | undefined;
  canisterId: Uint8Array;
  methodName: string;
  argument: Uint8Array;
  /** Only the user's own query sees one. */
  dataCertificate: Uint8Array | undefined;
  isTransform?: true | undefined;
}

/** Runs a user's query and everything that it calls. */
export function evaluateQuery(
  context: ReadContext,
  content: IngressContent,
  certificate: Uint8Array | undefined,
  console: ConsoleLine[],
  usage: QueryUsage[],
): Response {
  const evaluation = new Evaluation(context, console, usage);
  const { senderInfo, sender, canisterId, methodName, argument } = content;
  const callerInfo = senderInfo && { data: senderInfo.info, signer: senderInfo.signer };
  try {
    const { isTransform } = content;
    const call = { caller: sender, callerInfo, canisterId, methodName, argument, isTransform };
    return evaluation.run({ ...call, dataCertificate: certificate }, 1);
  } finally {
    evaluation.end();
  }
}

/** Why a canister cannot run queries now. */
function unavailability(context: ReadContext, canister: CanisterRecord): Reject | undefined {
  if (canister.status === "stopped") return canisterStoppedForQueries(canister.id);
  if (canister.status === "stopping") return canisterStopping(canister.id);
  if (missingFor(canister, 0n, context.prices) > 0n) return canisterFrozen(canister.id);
  return canister.code === undefined ? wasmModuleNotFound(canister.id) : undefined;
}

class Evaluation {
  readonly #context: ReadContext;
  readonly #console: ConsoleLine[];
  readonly #usage: QueryUsage[];
  #instructionsLeft = QUERY_INSTRUCTIONS_MAX;
  /** Instructions that are in the notes of usage. */
  #instructionsNoted = 0n;
  /** Canisters whose cached images are ahead of the state. */
  readonly #changed = new Set<Uint8Array>();
  /** The limit that the evaluation as a whole has met: nothing more runs, and all of it fails. */
  #exceeded: Reject | undefined = undefined;

  constructor(context: ReadContext, console: ConsoleLine[], usage: QueryUsage[]) {
    this.#context = context;
    this.#console = console;
    this.#usage = usage;
  }

  run(call: QueryCall, depth: number): Response {
    if (isSystemCanister(call.canisterId))
      return querySystemCanister(this.#context, call.canisterId, call);
    // Only a composite query gets here with the management canister.
    if (isManagementCanister(call.canisterId))
      return queryManagement(this.#context, call.caller, call.methodName, call.argument);
    const canister = this.#context.state.canister(call.canisterId);
    if (canister === undefined) {
      return isNativeCanister(call.canisterId)
        ? methodNotFound(call.canisterId, "query", call.methodName)
        : canisterNotFound(call.canisterId);
    }
    const unavailable = unavailability(this.#context, canister);
    if (unavailable !== undefined) return unavailable;
    const { exports } = installedModule(this.#context, canister);
    const plain = `canister_query ${call.methodName}`;
    const composite = `canister_composite_query ${call.methodName}`;
    if (exports.has(plain)) return this.#counted(call, () => this.#runPlain(canister, call, plain));
    if (exports.has(composite) && call.isTransform === undefined)
      return this.#counted(call, () => this.#runComposite(canister, call, composite, depth));
    return methodNotFound(canister.id, "query", call.methodName);
  }

  /** Notes what a query took; what the queries that it called took is theirs. */
  #counted(call: QueryCall, run: () => Response): Response {
    const [left, inner] = [this.#instructionsLeft, this.#instructionsNoted];
    const response = run();
    const total = left - this.#instructionsLeft;
    const instructions = total - (this.#instructionsNoted - inner);
    this.#instructionsNoted = inner + total;
    const responseBytes = response.kind === "reply" ? response.bytes.length : 0;
    const { canisterId, argument } = call;
    this.#usage.push({ canisterId, instructions, requestBytes: argument.length, responseBytes });
    return response;
  }

  /** Forgets images that composite queries have changed. */
  end(): void {
    for (const id of this.#changed) this.#context.engine.runtime.evict(id);
  }

  #runPlain(canister: CanisterRecord, call: QueryCall, name: string): Response {
    const mode = call.isTransform === true ? "httpTransform" : "query";
    const request = this.#request(call, { kind: "export", name }, mode, call.argument);
    const result = this.#execute(canister, request, false);
    if (result.kind === "trapped") return trapReject(canister.id, result.trap);
    return responseOf(result) ?? didNotReply(canister.id);
  }

  #runComposite(canister: CanisterRecord, call: QueryCall, name: string, depth: number): Response {
    const request = this.#request(call, { kind: "export", name }, "compositeQuery", call.argument);
    let result = this.#execute(canister, request, true);
    if (result.kind === "trapped") return trapReject(canister.id, result.trap);
    let response = responseOf(result);
    const calls = [...result.changes.calls];
    for (let next = calls.shift(); next !== undefined; next = calls.shift()) {
      const answer = this.#call(canister, next, depth);
      if (this.#exceeded !== undefined) return this.#exceeded;
      const callback = { ...request, ...callbackOf(next, answer) };
      callback.callContext = { ...request.callContext, responded: response !== undefined };
      result = this.#execute(canister, callback, true);
      if (result.kind === "finished") {
        response ??= responseOf(result);
        calls.push(...result.changes.calls);
        continue;
      }
      this.#cleanUp(canister, callback, next);
      if (calls.length === 0 && response === undefined) return trapReject(canister.id, result.trap);
    }
    return response ?? didNotReply(canister.id);
  }

  #call(caller: CanisterRecord, call: OutgoingCall, depth: number): Response {
    this.#instructionsLeft -= CALL_INSTRUCTIONS;
    if (depth >= DEPTH_MAX) {
      const text = "Composite query calls exceeded the maximum call depth.";
      return (this.#exceeded = reject(ErrorCode.queryTooDeep, text));
    }
    const response =
      this.#instructionsLeft > 0n
        ? this.run(
            {
              caller: caller.id,
              callerInfo: undefined,
              canisterId: call.callee,
              methodName: call.method,
              argument: call.argument,
              dataCertificate: undefined,
            },
            depth + 1,
          )
        : undefined;
    if (response !== undefined && this.#instructionsLeft > 0n) return response;
    const text = "Composite query calls exceeded the instruction limit.";
    return (this.#exceeded ??= reject(ErrorCode.queryTotalInstructions, text));
  }

  #cleanUp(canister: CanisterRecord, trapped: RunRequest, call: OutgoingCall): void {
    if (call.onCleanup === undefined) return;
    const entry = { kind: "callback", ...call.onCleanup } as const;
    this.#execute(
      canister,
      { ...trapped, entry, mode: "compositeCleanup", argument: EMPTY_BYTES },
      true,
    );
  }

  /** Runs code; with `keeps`, later code of this evaluation sees its memory. */
  #execute(canister: CanisterRecord, request: RunRequest, keeps: boolean): ExecutionResult {
    const limit = this.#instructionsLeft > 0n ? this.#instructionsLeft : 0n;
    const limited = { ...request, instructionLimit: limit };
    const session = this.#context.engine.runtime.open(imageSource(this.#context, canister));
    const result = session.run(request.entry, executionContext(this.#context, canister, limited));
    this.#instructionsLeft -= result.instructionsUsed;
    this.#console.push(...consoleLines(canister.id, this.#context.timeNs, result));
    if (result.kind === "trapped" || !keeps) {
      session.discard();
      return result;
    }
    const delta = session.commit();
    canister.image = delta.image;
    this.#context.state.applyImage(canister.id, delta);
    this.#changed.add(canister.id);
    return result;
  }

  #request(
    call: QueryCall,
    entry: RunRequest["entry"],
    mode: RunRequest["mode"],
    argument: Uint8Array,
  ): RunRequest {
    const { caller, callerInfo, dataCertificate } = call;
    const callContext = { ...systemCallContext(), caller, callerInfo, responded: false };
    return {
      entry,
      mode,
      argument,
      callContext,
      contextNumber: 0n,
      instructionLimit: 0n,
      dataCertificate,
    };
  }
}

/** How a callback runs with the answer to its call. */
function callbackOf(
  call: OutgoingCall,
  answer: Response,
): Pick<RunRequest, "entry" | "mode" | "argument" | "rejected" | "dataCertificate"> {
  const dataCertificate = undefined;
  if (answer.kind === "reply") {
    const entry = { kind: "callback", ...call.onReply } as const;
    const rejected = undefined;
    return {
      entry,
      mode: "compositeReplyCallback",
      argument: answer.bytes,
      rejected,
      dataCertificate,
    };
  }
  const { rejectCode: code, message } = rejectForCanister(answer);
  const entry = { kind: "callback", ...call.onReject } as const;
  const rejected = { code, message };
  return {
    entry,
    mode: "compositeRejectCallback",
    argument: EMPTY_BYTES,
    rejected,
    dataCertificate,
  };
}
