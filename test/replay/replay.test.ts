// The same blocks give the same roots: in a long-lived node and on a fresh one, and in every tier of
// V8's Wasm compilers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { installNodeCrypto, replayBlockLog } from "gyrotron/node";
import { createReplica } from "gyrotron/replica";
import { type History, recordHistory } from "./history.ts";

suite("replay from genesis", () => {
  const folder = mkdtempSync(join(tmpdir(), "gyrotron-replay-"));
  const logFile = join(folder, "blocks");
  let history: History;
  before(async () => {
    await installNodeCrypto();
    history = await recordHistory();
    writeFileSync(logFile, history.entries.map((entry) => entry.toHex()).join("\n"));
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  test("the history is what it should be", () => {
    assert.equal(history.count, 7n, "five calls, a timer, and one call after the upgrade");
    assert.equal(history.entries.length, history.roots.length);
    assert.ok(new Set(history.roots).size > 15, "most blocks changed the state");
  });

  test("a fresh replica in this process", () => {
    assert.deepEqual(rootsOf(history), history.roots);
  });

  test("a block out of place is refused, a shorter log gives a shorter history", () => {
    const entries = history.entries.with(-1, history.entries.at(-2)!);
    assert.throws(() => [...replayBlockLog(entries, createReplica())], "a block cannot come twice");
    const shorter = rootsOf({ ...history, entries: history.entries.slice(0, -1) });
    assert.deepEqual(shorter, history.roots.slice(0, -1));
  });

  for (const flag of ["--liftoff-only", "--no-liftoff"]) {
    test(`a process with ${flag}`, () => {
      const script = new URL("./replay-process.ts", import.meta.url).pathname;
      const output = execFileSync(
        process.execPath,
        [flag, "--conditions=source", script, logFile],
        {
          encoding: "utf8",
        },
      );
      assert.deepEqual(output.trim().split("\n"), history.roots);
    });
  }
});

function rootsOf({ entries }: History): string[] {
  return [...replayBlockLog(entries, createReplica())].map(({ stateRoot }) => stateRoot.toHex());
}
