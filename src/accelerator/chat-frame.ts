// How a conversation becomes the tokens of a prompt: the frame that a model was trained with. Part of a
// model's identity, since results depend on it.

import { DecodeError } from "gyrotron/base";
import type { ChatMessage } from "gyrotron/job";
import type { ChatTemplate, PlainFrameName, TextTokenizer } from "gyrotron/model";

/** The frames for models without a template of their own. */
export type FrameName = PlainFrameName;

/** A way to write a conversation down. */
export interface ChatFrame {
  /** What enters the model's identity. */
  readonly name: string;
  /** The prompt, or why the frame refuses the conversation. */
  promptOf(messages: readonly ChatMessage[]): readonly number[] | { refused: string };
  /** Tokens besides those of the messages' text, at most: once, and for each message. */
  readonly tokensMax: number;
  readonly messageTokensMax: number;
}

/** What a frame writes with. */
export interface FrameTokenizer {
  readonly tokenizer: TextTokenizer;
  /** What every text begins with, if anything. */
  readonly beginToken: number | undefined;
}

/** A frame by name: `continue` goes on with what the user wrote last; `passage` puts it above as a title. */
export function plainFrame(name: FrameName, { tokenizer, beginToken }: FrameTokenizer): ChatFrame {
  const begin = beginToken === undefined ? [] : [beginToken];
  return {
    name,
    promptOf(messages) {
      const text = lastWords(messages);
      // With nothing above a passage, the model begins as it likes.
      const isTitle = name === "passage" && text !== "";
      return [...begin, ...tokenizer.encode(isTitle ? `${text}\n\n` : text)];
    },
    // The begin token, the blank that the tokenizer puts first, and the two line breaks.
    tokensMax: name === "passage" ? 4 : 2,
    messageTokensMax: 0,
  };
}

/** The template of a model's file; it writes its begin token itself. */
export function templateFrame(template: ChatTemplate, tokenizer: TextTokenizer): ChatFrame {
  const promptOf = (messages: readonly ChatMessage[]): number[] | { refused: string } => {
    try {
      return tokenizer.encode(template.render(messages));
    } catch (error) {
      if (error instanceof DecodeError) return { refused: error.info.what };
      throw error;
    }
  };
  const lengthOf = (...roles: readonly ChatMessage["role"][]): number => {
    const prompt = promptOf(roles.map((role) => ({ role, content: "" })));
    return "refused" in prompt ? 0 : prompt.length;
  };
  const once = lengthOf("user");
  const longer = Math.max(lengthOf("user", "assistant"), lengthOf("system", "user"));
  return {
    name: `template\n${template.source}`,
    promptOf,
    tokensMax: once + SEAM_TOKENS,
    messageTokensMax: Math.max(0, longer - once) + SEAM_TOKENS,
  };
}

/** Where a message meets the template, fewer pieces may merge than in either alone. */
const SEAM_TOKENS = 8;

/** What the user said last, without blanks around it. */
function lastWords(messages: readonly ChatMessage[]): string {
  const last = messages.findLast(({ role }) => role === "user") ?? messages.at(-1);
  return last?.content.trim() ?? "";
}
