// The portable code that runs conformance, as one module for hosts without packages: browsers and Deno. It
// needs esbuild, which is installed with the hosts (`node scripts/gpu-setup.ts`).

import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const ROOT = resolve(import.meta.dirname, "..");
const ESBUILD = resolve(ROOT, "test", "gpu", "node_modules", "esbuild", "lib", "main.js");
const ENTRY = resolve(import.meta.dirname, "conform-page.ts");

interface Esbuild {
  build(options: object): Promise<{ readonly outputFiles: readonly { readonly text: string }[] }>;
}

/** `conform-page.ts` and all that it imports, as the text of one module. */
export async function bundleConformance(): Promise<string> {
  const { build } = (await import(pathToFileURL(ESBUILD).href)) as Esbuild;
  const result = await build({
    entryPoints: [ENTRY],
    absWorkingDir: ROOT,
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    conditions: ["source"],
    mainFields: ["module", "main"],
  });
  return result.outputFiles[0]?.text ?? "";
}

if (import.meta.main) process.stdout.write(await bundleConformance());
