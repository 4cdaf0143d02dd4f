// WebGPU on this machine for tests: Dawn under Node on SwiftShader, a Vulkan device in software, where
// `node scripts/gpu-setup.ts` has installed them. It knows where they lie; what runs on them is the tests'.

import { existsSync, mkdirSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Unpacked system packages, which git ignores. */
export const GPU_PACKAGES: string = join(import.meta.dirname, "build", "unpacked");
/** Folders of shared libraries among them. */
export const GPU_LIBRARIES: readonly string[] = [
  join(GPU_PACKAGES, "usr/lib/x86_64-linux-gnu"),
  join(GPU_PACKAGES, "usr/lib/x86_64-linux-gnu/pulseaudio"),
  join(GPU_PACKAGES, "usr/lib/chromium"),
];
export const CHROMIUM: string = join(GPU_PACKAGES, "usr/lib/chromium/chromium");
/** Descriptions of the two Vulkan devices in software. */
export const SWIFTSHADER_ICD: string = join(
  GPU_PACKAGES,
  "usr/lib/chromium/vk_swiftshader_icd.json",
);
export const LAVAPIPE_ICD: string = join(GPU_PACKAGES, "usr/lib/lvp_icd.json");

const VULKAN_LOADER = join(GPU_PACKAGES, "usr/lib/x86_64-linux-gnu/libvulkan.so.1");
const DAWN = join(import.meta.dirname, "node_modules", "webgpu", "index.js");
/** `RTLD_NODELETE` of glibc: the library stays when the failed load of an add-on lets go of it. */
const KEEP_LOADED = 0x1000;

/** Programs of the npm packages beside this file. */
export const DENO: string = join(import.meta.dirname, "node_modules", ".bin", "deno");
export const PLAYWRIGHT: string = join(
  import.meta.dirname,
  "node_modules",
  "playwright-core",
  "index.mjs",
);

/** Why Deno, or Chromium, cannot run here; undefined if it can. */
export const NO_DENO: string | undefined = missing([DENO, LAVAPIPE_ICD], "Deno with lavapipe");
export const NO_CHROMIUM: string | undefined = missing([PLAYWRIGHT, CHROMIUM], "Chromium");

/** Why tests on WebGPU are skipped, or undefined if they can run. */
export const NO_WEBGPU: string | undefined = missing(
  [DAWN, SWIFTSHADER_ICD, VULKAN_LOADER],
  "Dawn with SwiftShader",
);

/** What a WebGPU backend takes as its host: `navigator.gpu`. */
export type DawnGpu = object & { requestAdapter(): Promise<unknown> };

let opened: Promise<DawnGpu> | undefined;

/** Dawn on SwiftShader. Ask `NO_WEBGPU` first. */
export function openDawn<T>(): Promise<T> {
  opened ??= loadDawn();
  return opened as unknown as Promise<T>;
}

/** Environment in which a process finds a Vulkan device in software. */
export function vulkanEnvironment(icd: string): Record<string, string> {
  const runtime = join(import.meta.dirname, "build", "runtime");
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  return {
    VK_ICD_FILENAMES: icd,
    VK_DRIVER_FILES: icd,
    LD_LIBRARY_PATH: GPU_LIBRARIES.join(":"),
    XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? runtime,
  };
}

async function loadDawn(): Promise<DawnGpu> {
  const { LD_LIBRARY_PATH: _, ...own } = vulkanEnvironment(SWIFTSHADER_ICD);
  Object.assign(process.env, own);
  // The loader of Vulkan is searched for by name, which finds one that is loaded already: this process
  // cannot change its own search path.
  try {
    process.dlopen({ exports: {} }, VULKAN_LOADER, constants.dlopen.RTLD_NOW | KEEP_LOADED);
  } catch {
    // It is no add-on of Node, but now it is loaded.
  }
  const { create } = (await import(DAWN)) as { create(flags: string[]): DawnGpu };
  // SwiftShader compiles the clearing of workgroup memory ten times slower than all the rest.
  return create(["enable-dawn-features=disable_workgroup_init"]);
}

function missing(paths: readonly string[], what: string): string | undefined {
  if (paths.every((path) => existsSync(path))) return undefined;
  return `${what} is not installed: run \`npx node scripts/gpu-setup.ts\``;
}
