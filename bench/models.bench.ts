// A model's speed here, in llama.cpp and in transformers.js, on the same weights in one run: decoding, a prompt of
// 512 tokens, eight texts at once, the time to the first token from the start of a process, and memory. The engines
// take turns, so that what else the machine does hits them alike; what counts are the ratios.
//
// FILE is best in Q8_0, which has as many bits a weight as the default precision here; without it a model of
// random numbers in the shape of SmolLM2-135M is used. OTHER is another file of the same model, which llama.cpp runs
// besides. FOLDER is what model-speed/make_onnx.py makes of FILE. The peers take part if bench/speed-peers is
// installed (npm ci --ignore-scripts --omit=optional there; Linux on x64), transformers.js only with a FOLDER.
// Appends to bench/results/models.ndjson.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { present } from "gyrotron/base";
import { loadModel, ModelStore } from "gyrotron/node/models";
import { writeRandomModel } from "./model-speed/random-model.ts";
import type { Answer, Ready, Task } from "./model-speed/task.ts";
import { appendResult, describeRun } from "./record.ts";
import { residentMiB } from "./resident.ts";

const BATCH = 8;
const TASKS: readonly Task[] = [
  { kind: "decode", sequences: 1, promptTokens: 8, tokens: 49 },
  { kind: "prefill", sequences: 1, promptTokens: 512, tokens: 1 },
  { kind: "batch", sequences: BATCH, promptTokens: 8, tokens: 17 },
];
/** A prompt of 32 tokens within SmolLM2's frame. */
const PROMPT = "Describe boats";
const STARTS = 5;
const ROUNDS_MAX = 9;
const PEER_OF_SCRIPT: Record<string, string> = {
  "llama.ts": "llama.cpp",
  "transformers.ts": "transformers.js",
};
/** An engine that takes longer for a task takes no further part. */
const TASK_MS_MAX = 60_000;

interface Engine {
  readonly label: string;
  readonly ready: Ready;
  readonly child: ChildProcess;
  readonly rates: Record<Task["kind"], number[]>;
  readonly digests: Set<string>;
  /** With one text, before there were eight. */
  residentMiB: number | undefined;
  isOut: boolean;
}

const USAGE =
  "npm run bench:models -- [--model FILE.gguf] [--beside OTHER.gguf] [--onnx FOLDER] [--seconds 110] [--threads 1,2]";
const flags = readFlags();
const run = describeRun();
const start = performance.now();
const folder = join(tmpdir(), "gyrotron-bench-models");
mkdirSync(folder, { recursive: true });
const file = resolve(flags.model ?? join(folder, "random-q8_0.gguf"));
if (flags.model === undefined) writeRandomModel(file);
for (const path of [file, flags.beside].filter((one) => one !== undefined)) {
  if (existsSync(path)) continue;
  process.stderr.write(`there is no file ${path}\n${USAGE}\n`);
  process.exit(2);
}
const stored = prepare();
const threads = flags.threads.split(",").map(Number);
const engines = await startEngines();
const rounds = await takeTurns();
const report = {
  ...run,
  loadAfter: describeRun()["loadBefore"],
  model: basename(file),
  modelMiB: Math.round(statSync(file).size / 2 ** 20),
  rounds,
  engines: engines.map(summary),
  firstTokenMs: await measureStarts(),
};
for (const { child } of engines) child.kill();
print();
appendResult("models", report);

function readFlags(): { [K in "model" | "beside" | "onnx"]?: string } & Record<
  "seconds" | "threads",
  string
> {
  const text = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      options: {
        ...{ model: text, beside: text, onnx: text, help: { type: "boolean" } },
        seconds: { ...text, default: "110" },
        threads: { ...text, default: "1,2" },
      },
    });
    if (values.help !== true) return values;
    console.log(USAGE);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    process.exit(2);
  }
}

/** The model prepared in the benchmark's own store; anew in each run, as the format may have changed. */
function prepare(): { name: string; path: string; hash: string } {
  const name = "measured";
  const store = new ModelStore(folder);
  if (store.find(name) !== undefined) store.remove(name);
  const { path, hash } = store.add(name, loadModel(file), {
    source: basename(file),
    sourceHash: "",
  });
  return { name, path, hash };
}

async function startEngines(): Promise<Engine[]> {
  const started: Engine[] = [];
  for (const count of threads) {
    const ours = ["ours.ts", stored.path, String(count)];
    const all = [ours, [...ours, "native"], ...peers(count)];
    for (const args of all) {
      const engine = await startEngine(args, count);
      if (engine !== undefined) started.push(engine);
    }
  }
  return started;
}

/** The processes of the others, with so many threads. */
function peers(count: number): string[][] {
  const files = [file, ...(flags.beside === undefined ? [] : [resolve(flags.beside)])];
  const llama = files.map((path) => ["llama.ts", path, String(count)]);
  if (flags.onnx === undefined) return llama;
  const folder = resolve(flags.onnx);
  return [
    ...llama,
    ...["q8", "fp32"].map((bits) => ["transformers.ts", folder, String(count), bits]),
  ];
}

function isBeside([, path]: readonly string[]): boolean {
  return flags.beside !== undefined && path === resolve(flags.beside);
}

/** An engine that has loaded the model; undefined, with a word why, if it cannot. */
async function startEngine(args: readonly string[], count: number): Promise<Engine | undefined> {
  const child = spawnEngine(args, ["ignore", "ignore", "inherit", "ipc"]);
  const ready = (await answerOf(child).catch(() => undefined)) as Ready | undefined;
  if (ready === undefined) {
    const wanted = args.includes("native") ? "a C compiler there" : "bench/speed-peers installed";
    console.log(`${args[0]} does not run here; is ${wanted}?`);
    child.kill();
    return undefined;
  }
  const name = isBeside(args) ? `${ready.name} of ${basename(flags.beside ?? "")}` : ready.name;
  const label = `${name}, ${count} thread${count === 1 ? "" : "s"}`;
  const rates = { decode: [], prefill: [], batch: [] };
  return { label, ready, child, rates, digests: new Set(), residentMiB: undefined, isOut: false };
}

function spawnEngine(
  args: readonly string[],
  stdio: ("ignore" | "inherit" | "ipc")[],
): ChildProcess {
  const [script = "", ...rest] = args;
  const path = join(import.meta.dirname, "model-speed", script);
  return spawn(process.execPath, ["--conditions=source", path, ...rest], { stdio });
}

/** The next message of a process. @throws when it ends or takes too long */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const abort = new AbortController();
  const { signal } = abort;
  const timer = setTimeout(() => abort.abort(), TASK_MS_MAX);
  try {
    const ended = once(child, "exit", { signal }).then(() => {
      throw new Error("the engine ended");
    });
    const [message] = (await Promise.race([
      once(child, "message", { signal }),
      ended,
    ])) as unknown[];
    return message;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

async function ask(engine: Engine, task: Task): Promise<void> {
  if (engine.isOut) return;
  const message = answerOf(engine.child);
  engine.child.send(task);
  const answer = (await message.catch(() => undefined)) as Answer | undefined;
  if (answer === undefined) {
    console.log(`${engine.label} fails or takes too long at ${task.kind}, and is left out`);
    engine.isOut = true;
    engine.child.kill();
    return;
  }
  const { firstMs, restMs, written, digest } = answer;
  if (digest !== undefined) engine.digests.add(`${task.kind} ${digest}`);
  // An engine that does not say when a batch has its first tokens is measured over all of it.
  const afterFirst = restMs > 0 ? (written - task.sequences) / restMs : written / firstMs;
  const rate = task.kind === "prefill" ? task.promptTokens / firstMs : afterFirst;
  engine.rates[task.kind].push(rate * 1000);
}

/** Lets the engines work in turn until time is up; the first round warms up and does not count if another follows. */
async function takeTurns(): Promise<number> {
  const isOver = (): boolean => performance.now() - start > Number(flags.seconds) * 1000;
  for (let round = 0; round <= ROUNDS_MAX; round++) {
    for (const task of TASKS) {
      if (round > 0 && isOver()) return round;
      if (round === 0 && task.sequences > 1) noteMemory();
      for (const engine of round % 2 === 0 ? engines : engines.toReversed())
        await ask(engine, task);
    }
    if (round !== 1) continue;
    for (const { rates } of engines) for (const kind of Object.values(rates)) kind.shift();
  }
  return ROUNDS_MAX;
}

function noteMemory(): void {
  for (const engine of engines) engine.residentMiB = residentMiB(present(engine.child.pid));
}

function summary(engine: Engine): Record<string, unknown> {
  const { label, ready, rates, digests } = engine;
  return {
    engine: label,
    version: ready.version,
    tokensPerSecond: Object.fromEntries(
      Object.entries(rates).map(([kind, all]) => [kind, { median: median(all), best: best(all) }]),
    ),
    residentMiB: engine.residentMiB,
    ...(digests.size > 0 && { digests: [...digests].toSorted() }),
  };
}

/** From the start of a process to its end after one token, for a prompt of 32 tokens. */
async function measureStarts(): Promise<Record<string, unknown>> {
  const cli = join(import.meta.dirname, "../bin/gyrotron.js");
  const ours = ["run", stored.name, PROMPT, "--data", folder, "--max-tokens", "1", "--json"];
  const starts: Record<string, () => ChildProcess> = {
    gyrotron: () => spawn(process.execPath, [cli, ...ours], { stdio: "ignore" }),
  };
  for (const args of peers(2).filter((args) => !isBeside(args))) {
    const name = PEER_OF_SCRIPT[args[0] ?? ""] ?? "";
    const label = [name, ...args.slice(3)].join(" ");
    if (engines.some(({ ready }) => ready.name === label))
      starts[label] = () => spawnEngine([...args, "--once"], ["ignore", "ignore", "ignore"]);
  }
  const times = new Map<string, number[]>();
  for (let i = 0; i <= STARTS; i++)
    for (const [label, begin] of Object.entries(starts)) {
      const took = await timed(begin);
      if (i > 0 && took !== undefined) times.set(label, [...(times.get(label) ?? []), took]);
    }
  return Object.fromEntries(
    [...times].map(([label, all]) => [label, { median: median(all), best: quickest(all) }]),
  );
}

/** Milliseconds that a process took; undefined if it failed. */
async function timed(begin: () => ChildProcess): Promise<number | undefined> {
  const from = performance.now();
  const [status] = (await once(begin(), "exit")) as [number | null];
  return status === 0 ? performance.now() - from : undefined;
}

function print(): void {
  const { engines: all, ...facts } = report;
  console.log(JSON.stringify(facts, undefined, 2));
  for (const engine of all) console.log(JSON.stringify(engine));
  for (const count of threads) {
    const beside = engines.filter(({ label }) => label.includes(`, ${count} thread`));
    const isOurs = ({ ready }: Engine): boolean => ready.name.startsWith("gyrotron");
    for (const ours of beside.filter(isOurs))
      for (const peer of beside.filter((engine) => !isOurs(engine)))
        console.log(`${ours.ready.name} by ${peer.label}: ${ratios(ours, peer).join(", ")}`);
  }
  const digests = new Set(engines.flatMap((engine) => [...engine.digests]));
  const kinds = new Set([...digests].map((digest) => digest.split(" ")[0]));
  console.log(digests.size === kinds.size ? "digests: all equal" : "digests: THEY DIFFER");
}

/** Medians of the ratios of runs that stand next to each other. */
function ratios(ours: Engine, peer: Engine): string[] {
  const both = TASKS.filter(({ kind }) => ours.rates[kind].length * peer.rates[kind].length > 0);
  return both.map(({ kind }) => {
    const pairs = ours.rates[kind]
      .slice(0, peer.rates[kind].length)
      .map((rate, i) => rate / present(peer.rates[kind][i]));
    const quiet = present(best(ours.rates[kind])) / present(best(peer.rates[kind]));
    return `${kind} ${median(pairs)} (best by best ${Math.round(quiet * 100) / 100})`;
  });
}

function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const value = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
  return Math.round(value * 100) / 100;
}

/** Of rates. */
function best(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.round(Math.max(...values) * 100) / 100;
}

/** Of times. */
function quickest(values: readonly number[]): number {
  return Math.round(Math.min(...values) * 100) / 100;
}
