// How a conversation becomes a prompt: the frame that a model was trained with. Part of a model's
// identity, since results depend on it.

import type { ChatMessage } from "gyrotron/job";

/** The frames there are. */
export type FrameName = "continue" | "passage";

/** A way to write a conversation down. */
export interface ChatFrame {
  /** The text that the model continues; it follows the begin token. */
  promptOf(messages: readonly ChatMessage[]): string;
  /** Tokens besides those of the messages' text, at most. */
  readonly tokensMax: number;
}

const FRAMES: Readonly<Record<FrameName, ChatFrame>> = {
  // For plain models of text: what the user wrote last is the beginning of the text.
  continue: {
    promptOf: lastWords,
    // The begin token, and the blank that the tokenizer puts first.
    tokensMax: 2,
  },
  // For models that know passages of text, not roles: what the user wrote last stands above the
  // passage, as a title or a request does. With nothing above it the model begins as it likes.
  passage: {
    promptOf(messages) {
      const text = lastWords(messages);
      return text === "" ? "" : `${text}\n\n`;
    },
    // The begin token, the blank that the tokenizer puts first, and the two line breaks.
    tokensMax: 4,
  },
};

/** A frame by name. */
export function chatFrame(name: FrameName): ChatFrame {
  return FRAMES[name];
}

/** What the user said last, without blanks around it. */
function lastWords(messages: readonly ChatMessage[]): string {
  const last = messages.findLast(({ role }) => role === "user") ?? messages.at(-1);
  return last?.content.trim() ?? "";
}
