// Installs the hosts that WebGPU is tested on, in folders of this checkout alone: npm packages of test/gpu, and
// Debian's packages of Chromium (with SwiftShader) and Mesa (with lavapipe), unpacked and not installed.
// Whatever it cannot get it names; tests skip what is missing.
//
//   node scripts/gpu-setup.ts

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  CHROMIUM,
  GPU_PACKAGES,
  LAVAPIPE_ICD,
  SWIFTSHADER_ICD,
} from "../test/gpu/hosts-fixture.ts";

const FOLDER = resolve(import.meta.dirname, "..", "test", "gpu");
const DOWNLOADS = join(FOLDER, "build", "downloads");
const WANTED = ["chromium", "chromium-common", "libvulkan1", "mesa-vulkan-drivers"];
/** Asked in a process of its own, since what is there is found out once. */
const REPORT = `
const hosts = await import(${JSON.stringify(pathToFileURL(join(FOLDER, "hosts-fixture.ts")).href)});
const missing = [hosts.NO_WEBGPU, hosts.NO_DENO, hosts.NO_CHROMIUM].filter(Boolean);
console.log(missing.length === 0 ? "all hosts of WebGPU are here" : missing.join("\\n"));
`;
const LAVAPIPE = "usr/lib/x86_64-linux-gnu/libvulkan_lvp.so";

process.exitCode = main();

function main(): number {
  installPackages();
  if (![CHROMIUM, SWIFTSHADER_ICD, LAVAPIPE_ICD].every((path) => existsSync(path))) {
    unpackSystemPackages();
  }
  const folder = spawnSync(process.execPath, ["--input-type=module", "-e", REPORT], {
    encoding: "utf8",
  });
  print(folder.stdout.trim());
  return folder.stdout.includes("not installed") ? 1 : 0;
}

function installPackages(): void {
  const flags = ["ci", "--no-audit", "--no-fund", "--prefix", FOLDER];
  if (!run("npm", flags, FOLDER)) print("npm packages of test/gpu could not be installed");
}

function unpackSystemPackages(): void {
  const tools = ["apt-get", "dpkg"].filter((name) => !run(name, ["--version"], FOLDER));
  if (tools.length > 0 || process.arch !== "x64") {
    print(
      `Chromium and Mesa come from Debian for x64, which this machine is not: ${tools.join(", ")}`,
    );
    return;
  }
  mkdirSync(DOWNLOADS, { recursive: true });
  // What they need that this machine lacks; nothing is installed.
  const plan = spawnSync(
    "apt-get",
    ["-qq", "--print-uris", "--no-install-recommends", "install", ...WANTED],
    { encoding: "utf8" },
  );
  const needed = [...plan.stdout.matchAll(/^'[^']+' ([^_\s]+)_/gm)].map(([, name = ""]) => name);
  const names = [...new Set([...WANTED, ...needed])];
  if (!run("apt-get", ["-qq", "download", ...names], DOWNLOADS)) {
    print("Debian's packages could not be fetched; `apt-get update` may be needed");
  }
  for (const file of readdirSync(DOWNLOADS).filter((name) => name.endsWith(".deb"))) {
    run("dpkg", ["-x", join(DOWNLOADS, file), GPU_PACKAGES], FOLDER);
  }
  rmSync(DOWNLOADS, { recursive: true });
  const library = join(GPU_PACKAGES, LAVAPIPE);
  if (!existsSync(library)) return;
  const icd = {
    file_format_version: "1.0.0",
    ICD: { api_version: "1.1.0", library_path: library },
  };
  writeFileSync(LAVAPIPE_ICD, JSON.stringify(icd));
}

function run(command: string, flags: readonly string[], cwd: string): boolean {
  const { status } = spawnSync(command, flags, { cwd, stdio: ["ignore", "ignore", "inherit"] });
  return status === 0;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
