// The bundled example that `demo` deploys and `chat` talks to.

import { existsSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Name under which it is deployed. */
export const STORYTELLER = "storyteller";
/** Its method: continues a text. */
export const STORYTELLER_METHOD = "tell";

/** Its program. */
export const STORYTELLER_FILE: string = fileURLToPath(
  new URL("../../examples/storyteller/main.mo", import.meta.url),
);

/** Another example: a canister without a model. */
export const COUNTER_FILE: string = fileURLToPath(
  new URL("../../examples/counter/main.mo", import.meta.url),
);

/** A path as a person here would type it. */
export function displayPath(file: string): string {
  const short = relative(process.cwd(), file);
  return existsSync(short) && !short.startsWith("..") ? short : file;
}
