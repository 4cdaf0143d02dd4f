// Candid interface of the LLM canister (dfinity/llm): types, the text that certificates show as its
// candid:service, and the reading of requests.

import { IDL } from "gyrotron/candid";
import { parsePrincipal } from "gyrotron/crypto";
import type { ChatMessage } from "gyrotron/job";

/** Where canisters find language models, on every network. */
export const LLM_CANISTER_ID: Uint8Array = parsePrincipal("w36hm-eqaaa-aaaal-qr76a-cai");

export const LLM_MESSAGES_MAX = 10;
export const LLM_PROMPT_BYTES_MAX: number = 10 * 1024;
export const LLM_OUTPUT_TOKENS_MAX = 1000;

const { Text, Opt, Vec, Record, Variant } = IDL;
const toolCall = Record({
  id: Text,
  function: Record({ name: Text, arguments: Vec(Record({ name: Text, value: Text })) }),
});
const assistantMessage = Record({ content: Opt(Text), tool_calls: Vec(toolCall) });
const tool = Variant({
  function: Record({
    name: Text,
    description: Opt(Text),
    parameters: Opt(
      Record({
        type: Text,
        properties: Opt(
          Vec(Record({ type: Text, name: Text, description: Opt(Text), enum: Opt(Vec(Text)) })),
        ),
        required: Opt(Vec(Text)),
      }),
    ),
  }),
});

/** Argument of v0_chat. */
export const V0_REQUEST: IDL.Type = Record({
  model: Text,
  messages: Vec(
    Record({
      role: Variant({ user: IDL.Null, assistant: IDL.Null, system: IDL.Null }),
      content: Text,
    }),
  ),
});

/** Argument of v1_chat. */
export const V1_REQUEST: IDL.Type = Record({
  model: Text,
  messages: Vec(
    Variant({
      user: Record({ content: Text }),
      system: Record({ content: Text }),
      assistant: assistantMessage,
      tool: Record({ content: Text, tool_call_id: Text }),
    }),
  ),
  tools: Opt(Vec(tool)),
});

/** Result of v1_chat. */
export const V1_RESPONSE: IDL.Type = Record({ message: assistantMessage });

/** v0_chat's argument as decoded. */
export interface V0Request {
  model: string;
  messages: { role: Partial<Record<ChatMessage["role"], null>>; content: string }[];
}

/** v1_chat's argument as decoded. */
export interface V1Request {
  model: string;
  messages: (
    | { user: { content: string } }
    | { system: { content: string } }
    | { assistant: { content: [] | [string]; tool_calls: unknown[] } }
    | { tool: { content: string; tool_call_id: string } }
  )[];
  tools: [] | [unknown[]];
}

/** The conversation of a v0 request. */
export function messagesOfV0(request: V0Request): ChatMessage[] {
  return request.messages.map(({ role, content }) => ({
    role: Object.keys(role)[0] as ChatMessage["role"],
    content,
  }));
}

/** The conversation of a v1 request; what a message says besides text (tool calls) is not for language models without tools. */
export function messagesOfV1(request: V1Request): ChatMessage[] {
  return request.messages.map((message): ChatMessage => {
    if ("user" in message) return { role: "user", content: message.user.content };
    if ("system" in message) return { role: "system", content: message.system.content };
    if ("tool" in message) return { role: "tool", content: message.tool.content };
    return { role: "assistant", content: message.assistant.content[0] ?? "" };
  });
}

/** The interface as text, for clients that read it from the canister. */
export const LLM_SERVICE_TEXT = `type tool_call = record {
  id : text;
  "function" : record { name : text; arguments : vec record { name : text; value : text } };
};
type assistant_message = record { content : opt text; tool_calls : vec tool_call };
type property = record { "type" : text; name : text; description : opt text; "enum" : opt vec text };
type tool = variant {
  "function" : record {
    name : text;
    description : opt text;
    parameters : opt record {
      "type" : text;
      properties : opt vec property;
      required : opt vec text;
    };
  };
};
type chat_message_v1 = variant {
  user : record { content : text };
  "system" : record { content : text };
  assistant : assistant_message;
  tool : record { content : text; tool_call_id : text };
};
service : {
  v0_chat : (record {
    model : text;
    messages : vec record { role : variant { user; assistant; "system" }; content : text };
  }) -> (text);
  v1_chat : (record { model : text; messages : vec chat_message_v1; tools : opt vec tool }) -> (
    record { message : assistant_message },
  );
}
`;
