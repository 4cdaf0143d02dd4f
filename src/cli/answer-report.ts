// What a person is told about an answer of a language model: how the preview compares, what the
// receipt says, and whether it holds. Shared by `demo` and `chat`.

import { formatHex } from "gyrotron/base";
import { type Answer, comparePreview } from "./ask-canister.ts";
import type { WritingPace } from "./preview-stream.ts";
import { fact, paint, print, printable, tokensPerSecond } from "./output.ts";
import { type CheckedReceipt, readResult } from "./receipt-check.ts";

/** Says whether what was shown while it was written is what was certified; prints the text if not. */
export function showComparison(answer: Answer): void {
  const { length } = answer.text;
  switch (comparePreview(answer)) {
    case "equal":
      fact("reply", `${paint("equal to the preview", "good")}, ${length} characters`);
      return;
    case "beginning":
      fact(
        "reply",
        `${paint("begins as the preview", "good")} (${answer.preview.length} of ${length} characters):`,
      );
      break;
    case "none":
      fact("reply", "there was no preview; the certified text is:");
      break;
    case "different":
      fact("reply", `${paint("differs from the preview", "bad")}; the certified text is:`);
  }
  print(printable(answer.text));
}

/** Prints what the receipt says of the work and its price. */
export function showReceipt({ receipt, hash, checks }: CheckedReceipt, pace: WritingPace): void {
  const result = receipt && readResult(receipt.result);
  if (receipt !== undefined && result?.kind === "completed") {
    const { promptTokens, outputTokens } = result;
    const rate = tokensPerSecond(outputTokens * pace.share, pace.ms);
    fact("tokens", `${promptTokens} prompt, ${outputTokens} output${rate && `, ${rate} a second`}`);
    const share = `${groupDigits(receipt.charged)} charged of ${groupDigits(receipt.quoteMaximum)} quoted`;
    fact("cycles", share);
  }
  const failed = checks.filter(({ isOk }) => !isOk);
  const verdict =
    failed.length === 0
      ? paint("proof and certificate verified", "good")
      : paint(failed.map(({ name, detail }) => `${name}: ${detail}`).join("; "), "bad");
  fact("receipt", `${hash === undefined ? "damaged" : formatHex(hash)}  ${verdict}`);
}

/** 1234567 as 1_234_567. */
export function groupDigits(value: bigint): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, "_");
}
