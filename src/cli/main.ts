// Entry point of the command line: finds the command, runs it, and turns every failure into one
// line on standard error and a non-zero exit status.

import process from "node:process";
import { CliError } from "./cli-error.ts";
import { COMMANDS, findCommand, groupOf, suggestCommand } from "./command.ts";
import { printProblem } from "./output.ts";

const ALIASES: Readonly<Record<string, string>> = {
  "--help": "help",
  "-h": "help",
  "--version": "version",
  "-v": "version",
};

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  // `icp network start` runs a launcher with flags alone.
  const given = argv[0] === "--interface-version" ? ["launcher", ...argv] : argv;
  const [first = "help", ...rest] = given;
  const words = [ALIASES[first] ?? first, ...rest];
  try {
    const name = findCommand(words);
    const load = name === undefined ? undefined : COMMANDS.get(name);
    if (name === undefined || load === undefined) {
      const typed = groupOf(first) === undefined ? first : words.slice(0, 2).join(" ");
      throw new CliError({
        code: "cli/unknown-command",
        command: typed,
        suggestion: suggestCommand(words),
      });
    }
    const args = words.slice(name.split(" ").length);
    const command = await load();
    if (args.includes("--help") || args.includes("-h")) {
      const { showCommand } = await import("./commands/help.ts");
      showCommand(command);
      return 0;
    }
    return await command.run(args);
  } catch (error) {
    const { explainError } = await import("./explain-error.ts"); // loads the agent library
    printProblem(explainError(error));
    return 1;
  }
}
