// How a conversation becomes a prompt: the frame that a model was trained with. Part of a model's
// identity, since results depend on it.

import type { ChatMessage } from "gyrotron/job";

/** The frames there are. */
export type FrameName = "continue";

/** A way to write a conversation down. */
export interface ChatFrame {
  /** The text that the model continues; it follows the begin token. */
  promptOf(messages: readonly ChatMessage[]): string;
  /** Tokens besides those of the messages' text, at most. */
  readonly tokensMax: number;
}

const FRAMES: Readonly<Record<FrameName, ChatFrame>> = {
  // For models that know texts, not roles: what the user wrote last is the beginning of the text.
  continue: {
    promptOf(messages) {
      const last = messages.findLast(({ role }) => role === "user") ?? messages.at(-1);
      return last?.content.trim() ?? "";
    },
    // The begin token, and the blank that the tokenizer puts first.
    tokensMax: 2,
  },
};

/** A frame by name. */
export function chatFrame(name: FrameName): ChatFrame {
  return FRAMES[name];
}
