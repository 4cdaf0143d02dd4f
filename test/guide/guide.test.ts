// The guides in docs/guide do what they say: the TypeScript of each page is put together and run.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";

const ROOT = resolve(import.meta.dirname, "../..");
const PAGES = join(ROOT, "docs/guide");
/** Inside of the package, so that it can name itself in imports; not kept. */
const FOLDER = join(import.meta.dirname, "build");
const RUN_MS_MAX = 120_000;

for (const page of readdirSync(PAGES).filter((name) => name.endsWith(".md"))) {
  test(`docs/guide/${page} runs`, (context) => {
    const blocks = [...readFileSync(join(PAGES, page), "utf8").matchAll(/^```ts\n(.*?)^```/gms)];
    const code = blocks.map(([, text]) => text).join("\n");
    assert.ok(blocks.length > 0, "the page has code");
    mkdirSync(FOLDER, { recursive: true });
    const file = join(FOLDER, `${page.replace(".md", "")}.ts`);
    writeFileSync(file, code);
    context.after(() => rmSync(file));
    const flags = [
      "--conditions=source",
      "--test-reporter=tap",
      "--disable-warning=ExperimentalWarning",
    ];
    const { NODE_TEST_CONTEXT: _inherited, ...env } = process.env;
    const run = spawnSync(process.execPath, [...flags, file], {
      cwd: ROOT,
      encoding: "utf8",
      timeout: RUN_MS_MAX,
      env,
    });
    assert.equal(run.status, 0, run.stdout + run.stderr);
    const tests = [...code.matchAll(/^test\(/gm)].length;
    if (tests > 0) assert.match(run.stdout, new RegExp(`^# pass ${tests}$`, "m"));
  });
}
