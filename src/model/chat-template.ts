// Chat templates in the language that model files use (Jinja), run by the well-kept library for it.

import { DecodeError, utf8Text } from "gyrotron/base";
import { Template } from "@huggingface/jinja";

const TEMPLATE_CHARACTERS_MAX = 65536;

/** One turn of a conversation. */
export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
}

/** A template that was read; texts for its begin and end tokens are part of it. */
export class ChatTemplate {
  readonly source: string;
  readonly #template: Template;
  readonly #tokens: { bos_token: string; eos_token: string };

  /** @throws DecodeError `chat-template/decode` */
  constructor(source: string, tokens: { begin: string; end: string }) {
    if (source.length > TEMPLATE_CHARACTERS_MAX) throw decodeError("the template is too long");
    this.source = source;
    this.#tokens = { bos_token: tokens.begin, eos_token: tokens.end };
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw decodeError(messageOf(error));
    }
  }

  /** The conversation as a text that the assistant's turn follows. @throws DecodeError `chat-template/decode` if the template refuses it */
  render(messages: readonly TemplateMessage[]): string {
    try {
      return this.#template.render({ messages, add_generation_prompt: true, ...this.#tokens });
    } catch (error) {
      throw decodeError(messageOf(error));
    }
  }
}

/** The template in the bytes of a tokenizer_config.json, if it has one. @throws DecodeError `chat-template/decode` */
export function chatTemplateOfConfig(bytes: Uint8Array): string | undefined {
  const template = parseTokenizerConfig(bytes).get("chat_template");
  return typeof template === "string" ? template : undefined;
}

/** Whether texts begin with the begin token, if a tokenizer_config.json says so. @throws DecodeError `chat-template/decode` */
export function beginsTextsByConfig(bytes: Uint8Array): boolean | undefined {
  const flag = parseTokenizerConfig(bytes).get("add_bos_token");
  return typeof flag === "boolean" ? flag : undefined;
}

function parseTokenizerConfig(bytes: Uint8Array): Map<string, unknown> {
  let config: unknown;
  try {
    config = JSON.parse(utf8Text(bytes) ?? "");
  } catch {
    throw decodeError("tokenizer_config.json is not JSON");
  }
  return new Map(typeof config === "object" && config !== null ? Object.entries(config) : []);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function decodeError(what: string): DecodeError {
  return new DecodeError({ code: "chat-template/decode", what, offset: 0 });
}
