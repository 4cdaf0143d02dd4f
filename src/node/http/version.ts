// Name and version that the node announces.

import { readFileSync } from "node:fs";

/** Such as `gyrotron 0.1.0`. */
export const IMPLEMENTATION_VERSION: string = `gyrotron ${readVersion()}`;

function readVersion(): string {
  const manifest = new URL("../../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
