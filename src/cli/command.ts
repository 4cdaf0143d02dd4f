// What a command is, and the table of all of them. Commands load when they run, so that `help` and
// `canister call` do not wait for the node.

/** One command. */
export interface Command {
  /** Words after `gyrotron`, such as `deploy FILE`. */
  readonly usage: string;
  /** One sentence for the overview. */
  readonly summary: string;
  /** More lines for `gyrotron help COMMAND`. */
  readonly details?: readonly string[];
  /** Runs to the end; the number is the exit status. @throws CliError and other GyrotronError */
  run(args: readonly string[]): Promise<number>;
}

type Loader = () => Promise<Command>;

/** Every command by its words, in the order of the overview. */
export const COMMANDS: ReadonlyMap<string, Loader> = new Map<string, Loader>([
  ["demo", async () => (await import("./commands/demo.ts")).demo],
  ["start", async () => (await import("./commands/start.ts")).start],
  ["launcher", async () => (await import("./commands/launcher.ts")).launcher],
  ["deploy", async () => (await import("./commands/deploy.ts")).deploy],
  ["canister call", async () => (await import("./commands/canister-call.ts")).canisterCall],
  ["canister status", async () => (await import("./commands/canister-status.ts")).canisterStatus],
  ["canister logs", async () => (await import("./commands/canister-logs.ts")).canisterLogs],
  [
    "canister interface",
    async () => (await import("./commands/canister-interface.ts")).canisterInterface,
  ],
  ["canister list", async () => (await import("./commands/canister-list.ts")).canisterList],
  ["canister start", async () => (await import("./commands/canister-lifecycle.ts")).canisterStart],
  ["canister stop", async () => (await import("./commands/canister-lifecycle.ts")).canisterStop],
  [
    "canister delete",
    async () => (await import("./commands/canister-lifecycle.ts")).canisterDelete,
  ],
  ["chat", async () => (await import("./commands/chat.ts")).chat],
  ["verify", async () => (await import("./commands/verify.ts")).verify],
  ["model add", async () => (await import("./commands/model.ts")).modelAdd],
  ["model list", async () => (await import("./commands/model.ts")).modelList],
  ["model inspect", async () => (await import("./commands/model.ts")).modelInspect],
  ["model remove", async () => (await import("./commands/model.ts")).modelRemove],
  ["state export", async () => (await import("./commands/state.ts")).stateExport],
  ["state import", async () => (await import("./commands/state.ts")).stateImport],
  ["state verify", async () => (await import("./commands/state.ts")).stateVerify],
  ["run", async () => (await import("./commands/run.ts")).run],
  ["embed", async () => (await import("./commands/embed.ts")).embed],
  ["conform", async () => (await import("./commands/conform.ts")).conform],
  ["drun", async () => (await import("./commands/drun.ts")).drun],
  ["version", async () => (await import("./commands/version.ts")).version],
  ["help", async () => (await import("./commands/help.ts")).help],
]);

/** The command that `words` begin with: its name, or undefined. */
export function findCommand(words: readonly string[]): string | undefined {
  const pair = words.slice(0, 2).join(" ");
  if (COMMANDS.has(pair)) return pair;
  const first = words[0];
  return first !== undefined && COMMANDS.has(first) ? first : undefined;
}

/** The command most like what was typed, if any is near. */
export function suggestCommand(words: readonly string[]): string | undefined {
  const [first = ""] = words;
  const group = groupOf(first);
  if (words.length < 2 && group !== undefined) return group;
  const typed = [words.slice(0, 2).join(" "), first];
  let best: { name: string; distance: number } | undefined;
  for (const name of COMMANDS.keys()) {
    for (const text of [...typed, `canister ${first}`]) {
      const distance = editDistance(text, name);
      if (distance <= 2 && (best === undefined || distance < best.distance))
        best = { name, distance };
    }
  }
  return best?.name ?? group;
}

/** The commands that begin with a word, as `word one|two`, if any go on after it. */
export function groupOf(word: string): string | undefined {
  const names = [...COMMANDS.keys()].filter((name) => name.startsWith(`${word} `));
  if (names.length === 0) return undefined;
  return `${word} ${names.map((name) => name.slice(word.length + 1)).join("|")}`;
}

/** Number of letters to add, remove, replace or swap to make `right` of `left`. */
function editDistance(left: string, right: string): number {
  const rows: number[][] = [Array.from({ length: right.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= left.length; row++) {
    const above = rows[row - 1] ?? [];
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      const isSwap = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      const swapped = isSwap ? (rows[row - 2]?.[column - 2] ?? Infinity) + 1 : Infinity;
      const changed = Math.min((above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1);
      current.push(Math.min(replaced, changed, swapped));
    }
    rows.push(current);
  }
  return rows.at(-1)?.at(-1) ?? 0;
}
