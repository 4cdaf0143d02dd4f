// A TypeScript canister that answers with a language model and remembers what it was asked. The
// answers lie in stable memory, so that they outlive upgrades; a timer counts the minutes it is up.
//
//   npm install --ignore-scripts && npx gyrotron deploy index.ts
//   npx gyrotron canister call azle-chat ask '("Tell me a story about a fox and a crow")'

import {
  call,
  IDL,
  init,
  postUpgrade,
  query,
  setTimer,
  setTimerInterval,
  StableBTreeMap,
  time,
  update,
} from "azle";

const LLM = "w36hm-eqaaa-aaaal-qr76a-cai";

const Message = IDL.Record({
  role: IDL.Variant({ user: IDL.Null, assistant: IDL.Null, system_: IDL.Null }),
  content: IDL.Text,
});
const Request = IDL.Record({ model: IDL.Text, messages: IDL.Vec(Message) });
const Answer = IDL.Record({ question: IDL.Text, text: IDL.Text, at: IDL.Nat64 });

interface Answer {
  question: string;
  text: string;
  /** Nanoseconds since 1970. */
  at: bigint;
}

interface Request {
  model: string;
  messages: { role: { user: null } | { assistant: null } | { system_: null }; content: string }[];
}

export default class {
  answers = new StableBTreeMap<bigint, Answer>(0);
  reminders: string[] = [];
  ticks = 0;

  @init([])
  start(): void {
    setTimerInterval(60, () => {
      this.ticks += 1;
    });
  }

  @postUpgrade([])
  startAgain(): void {
    this.start();
  }

  /** Asks the model, as any canister may; every node computes the same answer. */
  @update([IDL.Text], IDL.Text)
  async ask(question: string): Promise<string> {
    const text = await call<[Request], string>(LLM, "v0_chat", {
      paramIdlTypes: [Request],
      returnIdlType: IDL.Text,
      args: [{ model: "storyteller", messages: [{ role: { user: null }, content: question }] }],
    });
    this.answers.insert(BigInt(this.answers.len()), { question, text, at: time() });
    return text;
  }

  @query([], IDL.Vec(Answer))
  history(): Answer[] {
    return this.answers.values();
  }

  /** Says something to itself after some seconds. */
  @update([IDL.Text, IDL.Nat32])
  remind(what: string, seconds: number): void {
    setTimer(seconds, () => {
      this.reminders.push(what);
    });
  }

  @query([], IDL.Vec(IDL.Text))
  reminded(): string[] {
    return this.reminders;
  }

  @query([], IDL.Nat32)
  minutes(): number {
    return this.ticks;
  }
}
