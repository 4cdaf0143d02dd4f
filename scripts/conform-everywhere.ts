// The quick cases on every device of this machine, and whether all digests are the published one: the oracle,
// the CPU with one and two threads, Dawn under Node, wgpu under Deno, headless Chromium. Hosts that are not
// installed are named and skipped (`node scripts/gpu-setup.ts` installs them).
//
//   node --conditions=source scripts/conform-everywhere.ts [quick|full] [NAME ...]

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  type CaseSet,
  type ConformanceReport,
  createReferenceBackend,
  createWasmBackend,
  createWebGpuBackend,
  type Gpu,
  PUBLISHED_CONFORMANCE,
  runConformance,
} from "gyrotron/backend";
import type { Backend } from "gyrotron/tensor";
import {
  CHROMIUM,
  DENO,
  LAVAPIPE_ICD,
  NO_CHROMIUM,
  NO_DENO,
  NO_WEBGPU,
  openDawn,
  PLAYWRIGHT,
  SWIFTSHADER_ICD,
  vulkanEnvironment,
} from "../test/gpu/hosts-fixture.ts";
import { bundleConformance } from "./bundle.ts";
import { serveConformance } from "./conform-browser.ts";

const GPU_FOLDER = resolve(import.meta.dirname, "..", "test", "gpu");
const HOST_MS_MAX = 10 * 60_000;

type Report = Omit<ConformanceReport, "mismatches"> & { readonly mismatches: readonly string[] };

/** A report, or why this host is not here. */
type Outcome = Report | string;

interface Host {
  readonly name: string;
  readonly run: (set: CaseSet) => Promise<Outcome>;
}

const HOSTS: readonly Host[] = [
  { name: "oracle", run: (set) => inProcess(async () => createReferenceBackend(), set) },
  { name: "wasm-1", run: (set) => inProcess(() => createWasmBackend({ threads: 1 }), set) },
  { name: "wasm-2", run: (set) => inProcess(() => createWasmBackend({ threads: 2 }), set) },
  {
    name: "dawn",
    run: async (set) =>
      NO_WEBGPU ?? inProcess(async () => createWebGpuBackend(await openDawn<Gpu>()), set),
  },
  { name: "deno", run: underDeno },
  { name: "chromium", run: underChromium },
];

process.exitCode = await main(process.argv.slice(2));
// Devices may keep the process alive.
process.exit();

async function main([first = "quick", ...names]: readonly string[]): Promise<number> {
  if (first !== "quick" && first !== "full") {
    process.stderr.write(`the set is quick or full, not ${first}\n`);
    return 2;
  }
  const expected = PUBLISHED_CONFORMANCE[first].digest;
  let hasFailed = false;
  for (const { name, run } of HOSTS.filter(
    (host) => names.length === 0 || names.includes(host.name),
  )) {
    const outcome = await run(first);
    if (typeof outcome === "string") {
      print(`${name.padEnd(9)} skipped  ${outcome}`);
      continue;
    }
    const conforms = outcome.digest === expected && outcome.mismatches.length === 0;
    hasFailed ||= !conforms;
    const verdict = conforms ? "conforms" : "DIFFERS ";
    print(
      `${name.padEnd(9)} ${verdict} ${outcome.digest} ${outcome.cases} cases, ${outcome.device}`,
    );
    for (const id of outcome.mismatches) print(`  ${id}`);
  }
  print(`published          ${expected}`);
  return hasFailed ? 1 : 0;
}

async function inProcess(create: () => Promise<Backend>, set: CaseSet): Promise<Outcome> {
  const backend = await create();
  try {
    return await runConformance(backend, set);
  } finally {
    await backend.close();
  }
}

async function underDeno(set: CaseSet): Promise<Outcome> {
  if (NO_DENO !== undefined) return NO_DENO;
  const folder = join(GPU_FOLDER, "build", "bundle");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "conform.js"), await bundleConformance());
  const program = `import { conform } from "./conform.js";
console.log(JSON.stringify(await conform("webgpu", "${set}")));
Deno.exit(0);
`;
  writeFileSync(join(folder, "main.js"), program);
  const { stdout, stderr, status } = spawnSync(
    DENO,
    ["run", "--no-config", "-A", "--unstable-webgpu", join(folder, "main.js")],
    {
      encoding: "utf8",
      env: { ...process.env, ...vulkanEnvironment(LAVAPIPE_ICD) },
      timeout: HOST_MS_MAX,
    },
  );
  assert.equal(status, 0, `Deno: ${lastLine(stderr)}`);
  return JSON.parse(lastLine(stdout)) as Report;
}

interface Browser {
  newPage(): Promise<{
    goto(url: string): Promise<unknown>;
    evaluate(body: string): Promise<unknown>;
  }>;
  close(): Promise<void>;
}

async function underChromium(set: CaseSet): Promise<Outcome> {
  if (NO_CHROMIUM !== undefined) return NO_CHROMIUM;
  const { chromium } = (await import(pathToFileURL(PLAYWRIGHT).href)) as {
    chromium: { launch(options: object): Promise<Browser> };
  };
  const page = await serveConformance(0);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--enable-features=Vulkan",
      "--enable-dawn-features=disable_workgroup_init",
    ],
    env: { ...process.env, ...vulkanEnvironment(SWIFTSHADER_ICD) },
  });
  try {
    const tab = await browser.newPage();
    // A page of the same origin that runs nothing by itself.
    await tab.goto(`${page.url}empty`);
    const body = `import("/conform.js").then(({ conform }) => conform("webgpu", "${set}"))`;
    return (await tab.evaluate(body)) as Report;
  } finally {
    await browser.close();
    page.close();
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
