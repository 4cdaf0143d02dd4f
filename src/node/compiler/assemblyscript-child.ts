// The child process that runs the AssemblyScript compiler named by its first argument with the rest as
// the compiler's arguments, with our kit in reach: programs import `gyrotron/sdk/assemblyscript` whether
// or not gyrotron is installed in their project.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

/** What npm `assemblyscript` offers, as far as it is used here. */
interface Compiler {
  main(args: readonly string[], options: object): Promise<{ error: Error | null }>;
}

const KIT = resolve(import.meta.dirname, "../../../sdk/assemblyscript");
const KIT_FILE = /(?:^|[/\\])node_modules[/\\]gyrotron[/\\]sdk[/\\]assemblyscript[/\\]([\w.-]+)$/;
const [compilerPath = "", ...args] = process.argv.slice(2);

const { main } = (await import(pathToFileURL(compilerPath).href)) as Compiler;
const transform = (await import(pathToFileURL(join(KIT, "transform.js")).href)) as {
  default: unknown;
};
const abort = "abort=~lib/gyrotron/sdk/assemblyscript/canister.as/abortCanister";
const { error } = await main([...args, "--use", abort], {
  stderr: process.stderr,
  transforms: [transform.default],
  readFile,
});
if (error !== null) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

function readFile(name: string, folder: string): string | null {
  const text = readText(resolve(folder, name));
  const file = KIT_FILE.exec(name)?.[1];
  return text === null && file !== undefined ? readText(join(KIT, file)) : text;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // asc asks for many names until one exists
  }
}
