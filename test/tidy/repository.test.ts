// The repository is the same on every machine: exact versions, no address of a machine or registry,
// executable entry points, one front door for each area.

import { deepEqual, ok } from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AREA_IMPORTS, SIDE_DOORS } from "../../scripts/layers.ts";
import {
  assertNone,
  type Finding,
  findMatches,
  readRepository,
  ROOT,
  type SourceFile,
} from "./source-tree.ts";

const files = readRepository();

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, { readonly source?: string }>>;
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly resolved?: string }>>;
}

test("no absolute path of a machine and no registry's address", () => {
  assertNone(files.flatMap(findMachineWords));
  const folder = ["", "home", "someone", "project"].join("/");
  const registry = ["registry", "example", "org"].join(".");
  deepEqual(findMachineWords({ path: "a.md", text: `see ${folder}` }).length, 1);
  deepEqual(findMachineWords({ path: "a.md", text: `https://${registry}/x` }).length, 1);
  deepEqual(findMachineWords({ path: "a.md", text: "src/work/x https://e.org/home/" }), []);
});

test("package.json names exact versions", () => {
  for (const path of pathsOf("package.json")) {
    const manifest = readJson<Manifest>(path);
    const all = { ...manifest.dependencies, ...manifest.devDependencies };
    const loose = Object.entries(all).filter(([, version]) => !/^(\d|file:)/.test(version));
    deepEqual(loose, [], path);
  }
});

test("lockfiles hold no download address", () => {
  for (const path of pathsOf("package-lock.json")) {
    const { packages } = readJson<Lock>(path);
    const resolved = Object.entries(packages).flatMap(([name, entry]) =>
      entry.resolved === undefined || /^(\.|[a-z])[^:]*$/.test(entry.resolved) ? [] : [name],
    );
    deepEqual(resolved, [], path);
  }
});

test("package.json exports every area that can be imported, and only its doors", () => {
  const { exports = {} } = readJson<Manifest>("package.json");
  for (const [name, target] of Object.entries(exports)) {
    const area = name.replace("./", "");
    ok(area in AREA_IMPORTS || SIDE_DOORS.has(area), `${name} is not in scripts/layers.ts`);
    deepEqual(target.source, `./src/${area}/index.ts`);
  }
});

test("entry points are executable", () => {
  for (const path of [".ci/run", "bin/gyrotron.js"]) {
    ok((statSync(join(ROOT, path)).mode & 0o111) !== 0, `${path} is not executable`);
  }
});

function findMachineWords(file: SourceFile): Finding[] {
  const folders = ["home", "mnt", "root", "Users", "work", "workspace"].join("|");
  const path = new RegExp(`(?<![\\w.:)}*/-])/(${folders})/\\w`, "g");
  const registry = new RegExp(
    `\\b(registry|npm|pypi)(\\.[a-z0-9-]+)+\\.(${"com|org|dev|io"})\\b`,
    "g",
  );
  return [
    ...findMatches(file, file.text, path, "path of a machine"),
    ...findMatches(file, file.text, registry, "address of a registry"),
  ];
}

function pathsOf(name: string): string[] {
  return files.map((file) => file.path).filter((path) => path.split("/").at(-1) === name);
}

function readJson<T>(path: string): T {
  return JSON.parse(files.find((file) => file.path === path)!.text) as T;
}
