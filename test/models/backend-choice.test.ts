// `run` and `embed` on each backend that this machine has: one digest, and in one line what cannot be had. A
// device for WebGPU that is not installed is skipped by name.

import { equal, match } from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { runCli, temporaryFolder } from "../e2e/running-node.ts";
import { encoderFiles, encoderTokenizerFile } from "../encoder/encoder-files.ts";
import { NO_WEBGPU } from "../gpu/hosts-fixture.ts";

const encoder = join(temporaryFolder(), "encoder");
const RUN = ["run", "storyteller", "The fox", "--max-tokens", "3"];
const EMBED = ["embed", encoder, "the cat sat", "a dog"];
const COMMANDS = [
  { name: "run", args: RUN, key: "logitsDigest" },
  { name: "embed", args: EMBED, key: "digest" },
] as const;

before(() => {
  const { config, tensors } = encoderFiles();
  const files = { "config.json": config, "model.safetensors": tensors };
  for (const [name, bytes] of Object.entries(files)) write(name, bytes);
  write("tokenizer.json", encoderTokenizerFile());
});

for (const { name, args, key } of COMMANDS) {
  test(`${name}: the oracle's digest is the CPU's`, async () => {
    const wasm = await reportOf([...args, "--threads", "2"]);
    const oracle = await reportOf([...args, "--backend", "oracle"]);
    equal(wasm["backend"], "wasm");
    match(String(wasm["device"]), /^wasm: .*2 threads$/);
    equal(oracle["backend"], "oracle");
    match(String(oracle["device"]), /^oracle: /);
    match(String(wasm[key]), /^[0-9a-f]{64}$/);
    equal(oracle[key], wasm[key]);
  });

  test(`${name}: WebGPU's digest is the CPU's`, { skip: NO_WEBGPU ?? false }, async () => {
    const wasm = await reportOf(args);
    const webgpu = await reportOf([...args, "--backend", "webgpu"]);
    equal(webgpu["backend"], "webgpu");
    match(String(webgpu["device"]), /^webgpu: /);
    equal(webgpu[key], wasm[key]);
  });

  const isInstalled = NO_WEBGPU === undefined && "Dawn is installed";
  test(`${name} says what to install for WebGPU`, { skip: isInstalled }, async () => {
    await refused([...args, "--backend", "webgpu"], /^no WebGPU: install Dawn with/);
  });

  test(`${name} refuses backends that are not, and threads of one that has none`, async () => {
    await refused(
      [...args, "--backend", "cuda"],
      /--backend takes wasm, native, webgpu, oracle, not cuda/,
    );
    const threads = [...args, "--threads", "2", "--backend"];
    await refused(
      [...threads, "webgpu"],
      /^--threads is for the backends wasm and native, not for webgpu/,
    );
    await refused(
      [...threads, "oracle"],
      /^--threads is for the backends wasm and native, not for oracle/,
    );
  });
}

async function reportOf(args: readonly string[]): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await runCli([...args, "--json"]);
  equal(status, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function refused(args: readonly string[], expected: RegExp): Promise<void> {
  const { status, stdout, stderr } = await runCli(args);
  equal(status, 1);
  equal(stdout, "");
  match(stderr, expected);
  equal(stderr.trim().split("\n").length, 1);
}

function write(name: string, bytes: Uint8Array): void {
  const path = join(encoder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}
