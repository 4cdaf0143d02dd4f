// Where a command gets WebGPU from: Dawn as the npm package `webgpu`, which is a hundred megabytes and therefore
// installed by those who want it; in a checkout, what the tests have installed.

import { existsSync, readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import type { Gpu } from "gyrotron/backend";
import { CliError } from "./cli-error.ts";

const PACKAGE = "webgpu";
/** In a checkout: the hosts of the tests, with a device in software. */
const CHECKOUT_HOSTS = join(import.meta.dirname, "../../test/gpu/hosts-fixture.ts");
const ADVICE = "install Dawn with `npm install webgpu` in this folder";

/** Dawn with a device: the machine's own, else the checkout's in software. @throws CliError `cli/no-webgpu` */
export async function openWebGpuHost(): Promise<Gpu> {
  const installed = await loadDawn();
  if (installed !== undefined && (await installed.requestAdapter()) !== null) return installed;
  const inSoftware = await loadCheckoutHost();
  if (inSoftware !== undefined) return inSoftware;
  const problem =
    installed === undefined
      ? `${ADVICE}, or in a checkout run \`npx node scripts/gpu-setup.ts\``
      : "Dawn is installed, but it finds no device: a Vulkan driver is needed";
  throw new CliError({ code: "cli/no-webgpu", problem });
}

/** The package from the working folder's install, or from this one's. */
async function loadDawn(): Promise<Gpu | undefined> {
  const from = [pathToFileURL(join(process.cwd(), "package.json")).href, import.meta.url];
  for (const base of from) {
    const manifest = findManifest(base);
    if (manifest === undefined) continue;
    const { main } = JSON.parse(readFileSync(manifest, "utf8")) as { main: string };
    const module: unknown = await import(pathToFileURL(join(dirname(manifest), main)).href);
    return (module as { create(flags: readonly string[]): Gpu }).create([]);
  }
  return undefined;
}

function findManifest(base: string): string | undefined {
  try {
    return findPackageJSON(PACKAGE, base);
  } catch {
    // Not installed.
    return undefined;
  }
}

async function loadCheckoutHost(): Promise<Gpu | undefined> {
  if (!existsSync(CHECKOUT_HOSTS)) return undefined;
  const { NO_WEBGPU, openDawn } = (await import(pathToFileURL(CHECKOUT_HOSTS).href)) as {
    readonly NO_WEBGPU: string | undefined;
    openDawn(): Promise<Gpu>;
  };
  return NO_WEBGPU === undefined ? openDawn() : undefined;
}
