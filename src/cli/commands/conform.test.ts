// What `gyrotron conform` refuses before it computes anything.

import assert from "node:assert/strict";
import test from "node:test";
import { CliError } from "../cli-error.ts";
import { conform } from "./conform.ts";

test("an exhaustive sweep of the oracle is refused", async () => {
  const isRefusal = (error: unknown): boolean =>
    error instanceof CliError &&
    error.info.code === "cli/usage" &&
    error.info.problem.includes("too slow");
  const args = ["--backend", "oracle", "--cases", "exhaustive"];
  await assert.rejects(async () => conform.run(args), isRefusal);
});

test("a set that does not exist is refused with those that do", async () => {
  const isRefusal = (error: unknown): boolean =>
    error instanceof CliError &&
    error.info.code === "cli/usage" &&
    error.info.problem === "--cases takes quick, full, exhaustive, not every";
  await assert.rejects(async () => conform.run(["--cases", "every"]), isRefusal);
});
