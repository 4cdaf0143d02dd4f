#!/usr/bin/env node
// Starts the command line with a Node that can run canisters (24 or newer, for 64-bit Wasm), however
// old the Node that reads this file is: plain ES2020, no dependency, nothing newer than Node 16.

import { spawn } from "child_process";
import { existsSync } from "fs";
import { createRequire } from "module";
import { constants } from "os";
import { dirname, join } from "path";
import { fileURLToPath, pathToFileURL } from "url";

const NODE_MAJOR_MIN = 24;
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const SOURCES = join(ROOT, "src", "cli", "main.ts");
const RESOLVER = pathToFileURL(join(ROOT, "bin", "resolve-sources.js")).href;
/** Compiled code from one start to the next; where it cannot be written, starts are slower. */
const COMPILE_CACHE = join(ROOT, "node_modules", ".cache", "gyrotron");
/** A node has several heaps; each keeps this many MiB for new objects, a quarter of V8's default. */
const NEW_SPACE_MIB = 4;
/** These load much at once and end soon: with less, a tenth of their time goes into collecting what stays. */
const SHORT_COMMANDS = ["run", "embed"];
const SHORT_NEW_SPACE_MIB = 16;
/** glibc gives memory above this many bytes back when it is freed; left alone it keeps what models left behind. */
const MALLOC = { MALLOC_MMAP_THRESHOLD_: "262144" };
const BUILT = join(ROOT, "dist", "cli", "main.js");

main();

function main() {
  const node = findNode();
  if (node === undefined) {
    fail(
      `gyrotron needs Node ${NODE_MAJOR_MIN} or newer and this is ${process.version}: ` +
        "run `npm ci` in its folder (it brings the right one) or install a newer Node",
    );
  }
  const fromSources = existsSync(SOURCES);
  if (!fromSources && !existsSync(BUILT)) fail(`gyrotron is incomplete: ${BUILT} is missing`);
  const entry = fromSources ? ["--conditions=source", "--import", RESOLVER, SOURCES] : [BUILT];
  const newSpace = SHORT_COMMANDS.includes(process.argv[2]) ? SHORT_NEW_SPACE_MIB : NEW_SPACE_MIB;
  const args = [`--max-semi-space-size=${newSpace}`, ...entry, ...process.argv.slice(2)];
  // Stripped types are kept between starts: a start takes half the time and 30 MB less.
  const cache = fromSources ? { NODE_COMPILE_CACHE: COMPILE_CACHE } : {};
  run(node, args, { ...cache, ...MALLOC, ...process.env });
}

/** The pinned Node if it is installed, else this one if it is new enough. */
function findNode() {
  const file = process.platform === "win32" ? "node.exe" : "node";
  const own = join(ROOT, "node_modules", "node", "bin", file);
  if (existsSync(own)) return own;
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const nearby = join(dirname(manifest), "bin", file);
    if (existsSync(nearby)) return nearby;
  } catch (_notInstalled) {
    // Fall through to the Node that runs this file.
  }
  const major = Number(process.versions.node.split(".")[0]);
  return major >= NODE_MAJOR_MIN ? process.execPath : undefined;
}

/** Becomes the real program where the system can do that, else stands in front of it. */
function run(node, args, env) {
  if (process.platform !== "win32" && typeof process.execve === "function") {
    try {
      process.execve(node, [node, ...args], env);
    } catch (_refused) {
      // A sandbox may forbid it.
    }
  }
  attend(node, args, env);
}

/** Runs the real program as a child: same terminal, same signals, same exit status. */
function attend(node, args, env) {
  // The channel carries nothing; its closing tells the child that this process is gone.
  const child = spawn(node, args, { env, stdio: ["inherit", "inherit", "inherit", "ipc"] });
  const forward = (signal) => child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  child.on("error", (error) => fail(`gyrotron could not start ${node}: ${error.message}`));
  child.on("exit", (status, signal) => {
    for (const name of signals) process.off(name, forward);
    process.exit(signal === null ? status : 128 + (constants.signals[signal] || 0));
  });
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
