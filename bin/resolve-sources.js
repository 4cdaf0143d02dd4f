// Where a checkout's own imports lie. Node finds that out by asking the file system several times for each of some
// hundreds of files, in every thread, which is a tenth of the time to a first token. Loaded by `--import`, also in
// the threads of the process; all other imports are left to Node.

import { readFileSync } from "node:fs";
import * as nodeModule from "node:module";

const ROOT = new URL("../", import.meta.url);
const SOURCES = new URL("src/", ROOT).href;
const { exports } = JSON.parse(readFileSync(new URL("package.json", ROOT), "utf8"));
const OWN = new Map(
  Object.entries(exports).map(([name, { source }]) => [
    `gyrotron${name.slice(1)}`,
    new URL(source, ROOT).href,
  ]),
);

// A Node that is too old for this looks for itself.
nodeModule.registerHooks?.({ resolve });

function resolve(specifier, context, next) {
  const url = OWN.get(specifier) ?? besideOf(specifier, context.parentURL);
  if (url === undefined) return next(specifier, context);
  return { url, format: "module-typescript", shortCircuit: true };
}

/** A source that another names by its path. */
function besideOf(specifier, parent) {
  const isNear = specifier.startsWith(".") && specifier.endsWith(".ts");
  return isNear && parent?.startsWith(SOURCES) ? new URL(specifier, parent).href : undefined;
}
