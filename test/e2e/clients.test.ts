// Runs clients.mjs outside of this package's own dependencies.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { compileFile } from "gyrotron/node";
import { startNode, temporaryFolder } from "./running-node.ts";

const PEERS = resolve(import.meta.dirname, "../../bench/peers");
const areInstalled = existsSync(join(PEERS, "node_modules", "@dfinity", "agent"));
const reason = "run `npm ci` in bench/peers to test clients of two generations";

test(
  "clients of two generations are served",
  { skip: areInstalled ? false : reason },
  async (context) => {
    const folder = temporaryFolder();
    const counter = resolve(import.meta.dirname, "../../examples/counter/main.mo");
    const [node, { wasm }] = await Promise.all([startNode(folder), compileFile(counter)]);
    context.after(() => node.stop());
    const modulePath = join(folder, "counter.wasm");
    writeFileSync(modulePath, wasm);
    const script = join(import.meta.dirname, "clients.mjs");
    const result = spawnSync(process.execPath, [script, PEERS, node.url, modulePath], {
      encoding: "utf8",
    });
    assert.equal(result.status, 0, result.stderr);
    assert.match(
      result.stdout,
      /@icp-sdk\/core 6\.1\.0: .*verified\n@dfinity\/agent 3\.4\.3: .*verified/,
    );
  },
);
