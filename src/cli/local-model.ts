// A language model on this machine, without a node: found by name or path, run on the backend that
// was asked for. The same code and the same bits as the accelerator of a node.

import { existsSync } from "node:fs";
import { type JobRun, type LanguageModel, type RunControls, runJob } from "gyrotron/accelerator";
import type { Job } from "gyrotron/job";
import { createGenerator, quoteGeneration, type TextGenerator } from "gyrotron/learn";
import { handedOver } from "gyrotron/model";
import {
  BUNDLED_MODEL,
  bundledModelPath,
  installNodeHashes,
  ModelStore,
  NodeError,
} from "gyrotron/node/models";
import type { Precision } from "gyrotron/tensor";
import { CliError } from "./cli-error.ts";
import { type BackendChoice, onDevice, openBackend } from "./local-backend.ts";
import { type ModelChoice, readModel } from "./model-files.ts";

/** How a model is to run. */
export interface LocalModelOptions extends BackendChoice, ModelChoice {
  /** The data folder, whose models are known by name. */
  readonly folder: string;
}

/** A run with its times. */
export interface TimedRun extends JobRun {
  /** Until the first token was known, ms. */
  readonly prefillMs: number;
  /** From the first token to the last, ms. */
  readonly decodeMs: number;
}

/** A model ready to run here. */
export class LocalModel {
  readonly model: LanguageModel;
  readonly device: string;
  readonly #generator: TextGenerator;
  readonly #close: () => Promise<void>;

  private constructor(
    model: LanguageModel,
    generator: TextGenerator,
    backend: { device: string; close: () => Promise<void> },
  ) {
    this.model = model;
    this.#generator = generator;
    this.device = backend.device;
    this.#close = () => backend.close();
  }

  /**
   * Loads a model. @throws CliError `cli/unknown-model`, `cli/no-webgpu`; NodeError `node/model` that names the damaged
   * file or says what the device lacks
   */
  static async open(name: string, options: LocalModelOptions): Promise<LocalModel> {
    installNodeHashes();
    const path = findModel(name, options);
    // Its threads start while this one reads the model.
    const opening = openBackend(options);
    try {
      const model = readModel(path, options);
      checkContext(name, model, options.context);
      const backend = await opening;
      const { weights } = model.prepared;
      // The oracle computes with the weights where they are.
      const placed = options.backend === "oracle" ? weights : handedOver(weights);
      const prepared = { ...model.prepared, weights: placed };
      const generator = await onDevice(name, () => createGenerator(prepared, { backend }));
      return new LocalModel(model, generator, backend);
    } catch (error) {
      await opening.then(
        (backend) => backend.close(),
        () => undefined,
      );
      throw error;
    }
  }

  /** Runs a job; `onText` gets each new piece of the text. */
  async run(
    job: Job,
    onText: (piece: string) => void = () => {},
    controls: RunControls = {},
  ): Promise<TimedRun> {
    const startMs = performance.now();
    let firstMs: number | undefined;
    let shown = 0;
    const show = (text: string): void => {
      firstMs ??= performance.now();
      if (text.length > shown) onText(text.slice(shown));
      shown = text.length;
    };
    const { record } = this.model;
    const run = await onDevice(record.name, () =>
      runJob(this.model, this.#generator, job, show, controls),
    );
    const endMs = performance.now();
    firstMs ??= endMs;
    const { result } = run;
    // What the last token left open becomes text only at the end.
    if (result.kind === "completed" && result.text.length > shown) onText(result.text.slice(shown));
    return { ...run, prefillMs: firstMs - startMs, decodeMs: endMs - firstMs };
  }

  /** Products that a job may need; none where it will be refused. */
  workOf(job: Job): bigint {
    const { prepared, frame } = this.model;
    const prompt = frame.promptOf(job.messages);
    if ("refused" in prompt || prompt.length >= prepared.shape.context) return 0n;
    return quoteGeneration(prepared, Math.max(1, prompt.length), job.outputTokensMax).multiplyAdds;
  }

  async close(): Promise<void> {
    await this.#generator.close();
    await this.#close();
  }
}

/** The path of a model: the bundled one and those of the data folder by name, any other by its path. */
export function findModel(
  name: string,
  { folder, precision }: { folder: string; precision?: Precision | undefined },
): string {
  if (name === BUNDLED_MODEL) return bundledModelPath();
  const store = new ModelStore(folder);
  const kept = store.find(name);
  if (kept !== undefined) {
    if (precision === undefined) return kept;
    const is = store.list().find((model) => model.name === name)?.precision;
    if (precision === is) return kept;
    const reason = `it was prepared as ${is}; add it again with --precision ${precision}`;
    throw new NodeError({ code: "node/model", path: name, reason });
  }
  if (existsSync(name)) return name;
  const known = [BUNDLED_MODEL, ...store.list().map((model) => model.name)];
  throw new CliError({ code: "cli/unknown-model", name, known });
}

/** A prepared model has the context that it was prepared with. */
function checkContext(name: string, { prepared }: LanguageModel, asked: number | undefined): void {
  const is = prepared.shape.context;
  if (asked === undefined || asked === is) return;
  const reason = `it was prepared with a context of ${is}; add it again with --context ${asked}`;
  throw new NodeError({ code: "node/model", path: name, reason });
}
