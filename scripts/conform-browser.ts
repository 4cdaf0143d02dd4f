// A small page that runs the conformance cases in the tab it is opened in, on WebGPU and on the CPU, and shows
// device, cases, mismatches and digest.
//
//   node scripts/conform-browser.ts [PORT]

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { bundleConformance } from "./bundle.ts";

/** A running page server. */
export interface ConformancePage {
  readonly url: string;
  close(): void;
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Gyrotron conformance</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }
  dt { opacity: .7 } dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace }
  .good { color: #16794c } .bad { color: #b3261e }
  @media (prefers-color-scheme: dark) { :root { color-scheme: dark } .good { color: #63d29b } .bad { color: #ff8a80 } }
</style>
<h1>Does this device compute the specified bits?</h1>
<p>Every case runs here, in this tab, and is compared with the exact reference.</p>
<main></main>
<script type="module">
  import { conform, publishedDigest } from "./conform.js";
  const main = document.querySelector("main");
  const set = new URLSearchParams(location.search).get("cases") === "full" ? "full" : "quick";
  const add = (list, name, value, kind = "") => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    text.className = kind;
    list.append(term, text);
  };
  for (const name of ["webgpu", "wasm"]) {
    const title = document.createElement("h2");
    const list = document.createElement("dl");
    title.textContent = name;
    main.append(title, list);
    list.textContent = "running";
    await new Promise((resolve) => setTimeout(resolve, 50));
    try {
      const report = await conform(name, set);
      const isEqual = report.digest === publishedDigest(set);
      list.textContent = "";
      add(list, "device", report.device);
      add(list, "cases", report.cases);
      add(list, "mismatches", report.mismatches.join(" ") || "none", report.mismatches.length ? "bad" : "good");
      add(list, "digest", report.digest);
      add(list, "", isEqual ? "equal to the published digest" : "not the published digest", isEqual ? "good" : "bad");
    } catch (error) {
      list.textContent = "";
      add(list, "not run", error.message, "bad");
    }
  }
</script>
</html>
`;

/** Serves the page on this machine only; port 0 takes any that is free. */
export async function serveConformance(port: number): Promise<ConformancePage> {
  const files = new Map([
    ["/", { type: "text/html; charset=utf-8", text: PAGE }],
    ["/conform.js", { type: "text/javascript; charset=utf-8", text: await bundleConformance() }],
  ]);
  const server = createServer((request, response) => {
    const file = files.get(new URL(request.url ?? "/", "http://localhost").pathname);
    // Shared memory, which the CPU backend computes in, is for isolated pages only.
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.writeHead(file === undefined ? 404 : 200, {
      "Content-Type": file?.type ?? "text/plain",
    });
    response.end(file?.text ?? "not found\n");
  });
  await listen(server, port);
  const { port: actual } = server.address() as AddressInfo;
  return { url: `http://localhost:${actual}/`, close: () => void server.close() };
}

function listen(server: Server, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, "localhost", resolve);
  return promise;
}

if (import.meta.main) {
  const { url } = await serveConformance(Number(process.argv[2] ?? 8081));
  process.stdout.write(`open ${url} in a browser with WebGPU; ?cases=full runs all cases\n`);
}
