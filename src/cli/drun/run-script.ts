// Runs a script of Motoko's test runner on a network in memory and gives the lines that the runner
// prints, canisters' prints among them in the form to which its tests bring them.

import { ANONYMOUS_PRINCIPAL } from "gyrotron/crypto";
import {
  type CallState,
  createTestNetwork,
  TestError,
  type TestErrorInfo,
  type TestNetwork,
} from "gyrotron/testing";
import type { ScriptCommand } from "./script.ts";

/** Where a script runs. */
export type SubnetKind = "system" | "application";

/** Bytes of a module with what its upgrades need. */
export interface ScriptModule {
  readonly wasm: Uint8Array;
  /** It keeps its main memory. */
  readonly keepsMemory: boolean;
}

/** The id of the first canister on each kind of subnet. */
export const FIRST_IDS: Readonly<Record<SubnetKind, string>> = {
  system: "rwlgt-iiaaa-aaaaa-aaaaa-cai",
  application: "22ajg-aqaaa-aaaap-adukq-cai",
};

const CREATED =
  "ingress Completed: Reply: 0x4449444c016c01b3c4b1f204680100010a00000000000000000101";
const DONE = "ingress Completed: Reply: 0x4449444c0000";
const CYCLES = 1_000_000_000_000_000n;
/** Ids of further canisters begin here, as the runner's do. */
const FIRST_CREATED = 0xffff_ffff_ffe0_0000n;
/** Seconds that pass while a call is waited for. */
const WAIT_SECONDS_MAX = 1_000;
const CANISTER_ID_BYTES = 10;

/** Runs commands in order; `print` gets each line. Resolves with the exit status. */
export async function runScript(
  commands: readonly ScriptCommand[],
  subnet: SubnetKind,
  load: (path: string) => Promise<ScriptModule>,
  print: (line: string) => void,
): Promise<number> {
  const priceNodes = subnet === "system" ? 0 : 13;
  const run = new ScriptRun(createTestNetwork({ priceNodes, firstCanister: FIRST_CREATED }), print);
  const first = commands.find((command) => "module" in command);
  if (first !== undefined) run.create(first.canister);
  for (const command of commands) {
    const isOver =
      "module" in command ? run.install(command, await load(command.module)) : run.call(command);
    if (isOver) return 1;
  }
  return 0;
}

class ScriptRun {
  readonly #network: TestNetwork;
  readonly #print: (line: string) => void;
  #printed = 0;

  constructor(network: TestNetwork, print: (line: string) => void) {
    this.#network = network;
    this.#print = print;
  }

  create(id: string): void {
    const controllers = [ANONYMOUS_PRINCIPAL, id];
    this.#network.createCanister({ id, controllers, cycles: CYCLES });
    this.#print(CREATED);
  }

  /** Whether the run ends here. */
  install(
    { kind, canister, argument }: Extract<ScriptCommand, { module: string }>,
    { wasm, keepsMemory }: ScriptModule,
  ): boolean {
    const options = { mode: kind, argument, keepMemory: keepsMemory };
    const rejected = rejectionOf(() => this.#network.install(canister, wasm, options));
    this.#report(rejected === undefined ? DONE : `ingress Err: ${describe(rejected)}`);
    return false;
  }

  /** Whether the run ends here. */
  call({ kind, canister, method, argument }: Extract<ScriptCommand, { method: string }>): boolean {
    if (kind === "query") {
      let reply = new Uint8Array();
      const rejected = rejectionOf(() => {
        reply = Uint8Array.from(this.#network.query(canister, method, argument));
      });
      this.#report(rejected ? `Err: ${describe(rejected)}` : `Ok: Reply: 0x${reply.toHex()}`);
      return false;
    }
    if (method === "stop_canister" || method === "start_canister") {
      rejectionOf(() => this.#network.call(canister, method, onlyId(argument)));
      this.#report(DONE);
      return false;
    }
    return this.#ingress(canister, method, argument);
  }

  #ingress(canister: string, method: string, argument: Uint8Array): boolean {
    let state: CallState = { kind: "waiting" };
    const refused = rejectionOf(() => {
      const sent = this.#network.submit(canister, method, argument);
      for (let second = 0; second < WAIT_SECONDS_MAX && state.kind === "waiting"; second++) {
        this.#network.tick();
        this.#network.advanceTime(1);
        state = this.#network.stateOf(sent);
      }
    });
    const end = state as CallState;
    if (refused !== undefined || end.kind === "waiting") {
      this.#report();
      return true;
    }
    this.#report(
      end.kind === "replied"
        ? `ingress Completed: Reply: 0x${end.reply.toHex()}`
        : `ingress Err: ${describe(end)}`,
    );
    return false;
  }

  /** What canisters have printed since the last command, then its outcome. */
  #report(line?: string): void {
    const { console } = this.#network;
    for (; this.#printed < console.length; this.#printed++) {
      const text = console[this.#printed]!.text;
      // Traps show in the outcome.
      if (text.startsWith("[TRAP]: ") || text.startsWith("Canister Backtrace:")) continue;
      this.#print(`debug.print: ${text}`);
    }
    if (line !== undefined) this.#print(line);
  }
}

/** The last bytes of the argument name the canister, whatever else is in it. */
function onlyId(argument: Uint8Array): Uint8Array {
  const head = [0x44, 0x49, 0x44, 0x4c, 1, 0x6c, 1, 0xb3, 0xc4, 0xb1, 0xf2, 4, 0x68, 1, 0, 1];
  const id = argument.slice(-CANISTER_ID_BYTES);
  return Uint8Array.from([...head, id.length, ...id]);
}

type Rejection = Extract<TestErrorInfo, { code: "testing/rejected" }>;

function rejectionOf(action: () => void): Rejection | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof TestError && error.info.code === "testing/rejected") return error.info;
    throw error;
  }
}

function describe({ errorCode, message }: { errorCode: string; message: string }): string {
  return `${errorCode}: ${message}`;
}
