// What runs in a tab, or in Deno: conformance of the WebGPU and the CPU backend by the package's portable code.
// It is bundled by bundle.ts and shown by conform-browser.ts.

import {
  type CaseSet,
  type ConformanceReport,
  createWasmBackend,
  createWebGpuBackend,
  type Gpu,
  PUBLISHED_CONFORMANCE,
  runConformance,
} from "gyrotron/backend";

/** A backend that a page can run. */
export type PageBackend = "webgpu" | "wasm";

/** Runs a set of cases on a backend of this host. */
export async function conform(name: PageBackend, set: CaseSet): Promise<ConformanceReport> {
  const backend =
    name === "wasm" ? await createWasmBackend() : await createWebGpuBackend(hostGpu());
  try {
    return await runConformance(backend, set);
  } finally {
    await backend.close();
  }
}

/** The digest that a set has on every device that conforms. */
export function publishedDigest(set: CaseSet): string {
  return PUBLISHED_CONFORMANCE[set].digest;
}

function hostGpu(): Gpu {
  const { navigator } = globalThis as { readonly navigator?: { readonly gpu?: Gpu } };
  if (navigator?.gpu === undefined) throw new TypeError("this host has no navigator.gpu");
  return navigator.gpu;
}
