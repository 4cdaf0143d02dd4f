// Asks a canister something that a language model answers: the call, the preview beside it, and the
// certified reply. The agent checks the certificate; the comparison is made here.

import {
  type HttpAgent,
  isV2ResponseBody,
  polling,
  pollForResponse,
  type v2ResponseBody,
} from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import type { Principal } from "@icp-sdk/core/principal";
import { CliError } from "./cli-error.ts";
import { watchPreview, type WritingPace } from "./preview-stream.ts";

/** A text for a method that takes a text and answers with one. */
export interface Question {
  readonly canister: Principal;
  readonly method: string;
  readonly text: string;
}

/** What came back. */
export interface Answer {
  readonly requestId: Uint8Array;
  /** The certified reply. */
  readonly text: string;
  readonly certificateBytes: number;
  /** What was shown while it was written. */
  readonly preview: string;
  readonly pace: WritingPace;
}

/** How the preview relates to the certified reply. */
export type PreviewMatch = "equal" | "beginning" | "none" | "different";

const POLL_MS = 1_000;
/** How long text that the node has sent may still be on its way when the certified reply is here. */
const LAST_TEXT_MS_MAX = 2_000;

/** Asks and waits for the certified answer; `onText` gets pieces of the preview. @throws AgentError, CliError */
export async function askCanister(
  agent: HttpAgent,
  url: string,
  question: Question,
  onText: (piece: string) => void,
): Promise<Answer> {
  const { canister, method, text } = question;
  const { requestId, response } = await agent.call(canister, {
    methodName: method,
    arg: IDL.encode([IDL.Text], [text]),
    callSync: false,
  });
  if (isV2ResponseBody(response.body)) throw rejected(response.body);
  // The node keeps the text of a running answer: none is missed before this request arrives.
  const preview = watchPreview(agent, url, requestId, onText);
  try {
    const strategy = async (): Promise<void> => {
      await withinMs(preview.ended, POLL_MS);
    };
    const slowly = polling.strategy.chain(strategy, polling.strategy.throttle(50));
    const target = { canisterId: canister };
    const { reply, rawCertificate } = await pollForResponse(agent, target, requestId, {
      strategy: slowly,
    });
    await withinMs(preview.ended, LAST_TEXT_MS_MAX);
    return {
      requestId,
      text: IDL.decode([IDL.Text], reply)[0] as unknown as string,
      certificateBytes: rawCertificate.length,
      preview: preview.text(),
      pace: preview.pace(),
    };
  } finally {
    preview.stop();
  }
}

/** Compares what was shown with what is certified. */
export function comparePreview({ preview, text }: Pick<Answer, "preview" | "text">): PreviewMatch {
  if (preview === text) return "equal";
  if (preview === "") return "none";
  return text.startsWith(preview) ? "beginning" : "different";
}

function rejected(body: v2ResponseBody): CliError {
  return new CliError({
    code: "cli/rejected",
    action: "the call",
    rejectCode: body.reject_code,
    errorCode: body.error_code ?? "",
    message: body.reject_message,
  });
}

async function withinMs(promise: Promise<void>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
