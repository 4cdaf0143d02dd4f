// `gyrotron canister call`: Candid text in, Candid text out, through the public interface with every
// certificate and signature checked.

import type { IDL } from "@icp-sdk/core/candid";
import { CandidError, explainCandidError } from "../candid/candid-error.ts";
import { encodeArguments } from "../candid/fit.ts";
import { parseInterface } from "../candid/interface.ts";
import { printReply } from "../candid/print.ts";
import { readInterfaceText } from "../certified-canister.ts";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { NODE_FLAGS, readFlags } from "../flags.ts";
import { callCanister, connect, findCanister, queryCanister } from "../node-client.ts";
import { print, printable } from "../output.ts";

export const canisterCall: Command = {
  usage: "canister call CANISTER METHOD [ARGUMENTS] [--query]",
  summary: "Calls a method and prints the verified reply as Candid text.",
  details: [
    "CANISTER   a name under which it was deployed, or its id",
    "ARGUMENTS  Candid text, such as '(42, \"x\", record { a = opt 1 })'; none for no arguments",
    "--query    asks one node without changing anything; its signature is checked",
  ],
  async run(args) {
    const flags = readFlags(args, { ...NODE_FLAGS, query: { type: "boolean" } }, this.usage);
    const [name, method, text = "()", ...surplus] = flags.positionals;
    if (name === undefined || method === undefined || surplus.length > 0) {
      const problem =
        surplus.length > 0
          ? "the arguments must be one text in quotes"
          : "a canister and a method are needed";
      throw new CliError({ code: "cli/usage", problem, usage: this.usage });
    }
    const client = await connect(flags, this.usage);
    const canister = findCanister(client, name);
    const type = methodType(await readInterfaceText(client.agent, canister), name, method);
    const argument = encodeCallArgument(text, method, type?.argTypes);
    const send = flags.isSet("query") ? queryCanister : callCanister;
    const reply = await send(client.agent, canister, { method, argument });
    print(printable(printReply(reply, type?.retTypes)));
    return 0;
  },
};

/** Type of a method in a published interface; undefined if the canister publishes none. @throws CliError `cli/unknown-method` */
function methodType(
  text: string | undefined,
  canister: string,
  method: string,
): IDL.FuncClass | undefined {
  if (text === undefined) return undefined;
  const { methods } = parseInterface(text);
  const type = methods.get(method);
  if (type !== undefined) return type;
  throw new CliError({ code: "cli/unknown-method", canister, method, known: [...methods.keys()] });
}

function encodeCallArgument(
  text: string,
  method: string,
  types: readonly IDL.Type[] | undefined,
): Uint8Array {
  try {
    return encodeArguments(text, types);
  } catch (error) {
    if (!(error instanceof CandidError)) throw error;
    const problem = explainCandidError(error, text);
    throw new CliError({ code: "cli/argument", what: method, problem }, { cause: error });
  }
}
