// Where a compiler that is no dependency of ours lies: in the project of the program that it is for,
// in the `node_modules` of a folder above the source file, as Node itself would look for it.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** A package that the user installed. */
export interface FoundPackage {
  readonly folder: string;
  /** Folder that holds the `node_modules` it lies in. */
  readonly project: string;
  readonly version: string;
}

/** The package nearest above `path`; undefined if there is none or its manifest is damaged. */
export function findPackage(path: string, name: string): FoundPackage | undefined {
  for (let project = dirname(path); ; project = dirname(project)) {
    const folder = join(project, "node_modules", name);
    if (existsSync(join(folder, "package.json"))) {
      const version = readVersion(join(folder, "package.json"));
      return version === undefined ? undefined : { folder, project, version };
    }
    if (project === dirname(project)) return undefined;
  }
}

function readVersion(manifest: string): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version?: unknown };
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}
