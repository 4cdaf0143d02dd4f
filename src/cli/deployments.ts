// The names under which canisters were deployed, and what their modules were built from: one small
// file in the data folder, beside the state that it speaks of.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "./cli-error.ts";

/** What is remembered of one name. */
export interface Deployment {
  /** Textual principal. */
  readonly id: string;
}

const FILE = "deployments.json";

/** Names and their canisters of one data folder. */
export class Deployments {
  readonly #folder: string;
  readonly #byName: Map<string, Deployment>;

  /** Reads the folder's file, if there is one. @throws CliError `cli/file` if it is damaged */
  constructor(dataFolder: string) {
    this.#folder = dataFolder;
    this.#byName = new Map(Object.entries(readDeployments(join(dataFolder, FILE))));
  }

  get(name: string): Deployment | undefined {
    return this.#byName.get(name);
  }

  /** Name of a canister, if it has one. */
  nameOf(id: string): string | undefined {
    for (const [name, deployment] of this.#byName) if (deployment.id === id) return name;
    return undefined;
  }

  entries(): [string, Deployment][] {
    return [...this.#byName].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  names(): string[] {
    return this.entries().map(([name]) => name);
  }

  set(name: string, deployment: Deployment): void {
    this.#byName.set(name, deployment);
    this.#write();
  }

  forget(name: string): void {
    if (this.#byName.delete(name)) this.#write();
  }

  #write(): void {
    mkdirSync(this.#folder, { recursive: true });
    const path = join(this.#folder, FILE);
    writeFileSync(
      `${path}.new`,
      `${JSON.stringify(Object.fromEntries(this.entries()), undefined, 2)}\n`,
    );
    renameSync(`${path}.new`, path);
  }
}

function readDeployments(path: string): Record<string, Deployment> {
  if (!existsSync(path)) return {};
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (isDeployments(parsed)) return parsed;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new CliError({
    code: "cli/file",
    file: path,
    problem: "it is damaged; delete it and deploy again",
  });
}

function isDeployments(value: unknown): value is Record<string, Deployment> {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every(
      (entry: unknown) =>
        typeof entry === "object" &&
        entry !== null &&
        "id" in entry &&
        typeof entry.id === "string",
    )
  );
}
