// Flags of `gyrotron start` for what is fixed when a network begins: what an ICP is worth, who
// administers it, whether cycles can be made from nothing. On a network that exists they must say what it
// already is.

import { equalBytes } from "gyrotron/base";
import { formatPrincipal, parsePrincipalOrUndefined } from "gyrotron/crypto";
import type { NetworkChoices } from "gyrotron/node";
import type { NetworkConfig } from "gyrotron/replica";
import { CliError } from "./cli-error.ts";
import type { Flags, FlagTable } from "./flags.ts";

/** The flags. */
export const NETWORK_FLAGS = {
  "icp-rate": { type: "string" },
  "subnet-admin": { type: "string", multiple: true },
  "no-provisional": { type: "boolean" },
} as const satisfies FlagTable;

/** Lines for a command's help. */
export const NETWORK_FLAG_DETAILS: readonly string[] = [
  "For a new network:",
  "--icp-rate XDR   trillions of cycles that an ICP buys (3.52), to four places",
  "--subnet-admin PRINCIPAL   may create canisters for nothing and manage all; may stand more than once",
  "--no-provisional   nobody can make cycles from nothing",
];

/** Ten-thousandths of an XDR, at most a million XDR. */
const RATE = /^(\d{1,6})(?:\.(\d{1,4}))?$/;

/** What the flags ask for; what they leave open is undefined. @throws CliError `cli/usage` */
export function readNetworkChoices(flags: Flags, usage: string): NetworkChoices {
  const wrong = (problem: string): CliError => new CliError({ code: "cli/usage", problem, usage });
  const admins = flags.texts("subnet-admin").map((text) => {
    const principal = parsePrincipalOrUndefined(text);
    if (principal === undefined) throw wrong(`--subnet-admin takes a principal, not ${text}`);
    return principal;
  });
  const rate = flags.text("icp-rate");
  const [, whole = "", places = ""] = (rate === undefined ? undefined : RATE.exec(rate)) ?? [];
  const permyriad = BigInt(`${whole}${places.padEnd(4, "0")}`);
  if (rate !== undefined && permyriad === 0n)
    throw wrong(`--icp-rate takes a number such as 3.52, not ${rate}`);
  return {
    xdrPermyriadPerIcp: rate === undefined ? undefined : permyriad,
    subnetAdmins: admins.length === 0 ? undefined : admins,
    provisional: flags.isSet("no-provisional") ? false : undefined,
  };
}

/** Fails if a network is not as its operator asks for. @throws CliError `cli/other-network` */
export async function checkNetworkChoices(
  config: NetworkConfig,
  choices: NetworkChoices,
): Promise<void> {
  const { LOCAL_TOKENS } = await import("gyrotron/replica");
  const { xdrPermyriadPerIcp, subnetAdmins, provisional } = choices;
  const rate = (config.tokens ?? LOCAL_TOKENS).xdrPermyriadPerIcp;
  if (xdrPermyriadPerIcp !== undefined && xdrPermyriadPerIcp !== rate) {
    const is = `${rate / 10_000n}.${String(rate % 10_000n).padStart(4, "0")}`;
    throw new CliError({ code: "cli/other-network", flag: "icp-rate", is });
  }
  if (subnetAdmins !== undefined && !isSame(subnetAdmins, config.subnetAdmins)) {
    const is = config.subnetAdmins.map(formatPrincipal).join(" ") || "nobody";
    throw new CliError({ code: "cli/other-network", flag: "subnet-admin", is });
  }
  if (provisional !== undefined && provisional !== config.provisional)
    throw new CliError({ code: "cli/other-network", flag: "no-provisional", is: "not set" });
}

function isSame(left: readonly Uint8Array[], right: readonly Uint8Array[]): boolean {
  return left.length === right.length && left.every((id, index) => equalBytes(id, right[index]!));
}
