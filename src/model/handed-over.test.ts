// Handing weights over frees each layer when the next is asked for, and changes nothing of what is read.

import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { handedOver } from "./handed-over.ts";
import { decodeLlama2c } from "./llama2c.ts";
import { prepareModel } from "./prepare.ts";
import { llama2cFile } from "./sample-files.ts";

const MATRICES = ["query", "key", "value", "attentionOutput", "gate", "up", "down"] as const;

test("a layer's matrices are whole until another layer is asked for, and free from then on", () => {
  const { weights } = prepareModel(decodeLlama2c(llama2cFile({ ownClassifier: true })));
  const twin = prepareModel(decodeLlama2c(llama2cFile({ ownClassifier: true }))).weights;
  const given = handedOver(weights);
  const held = MATRICES.map((name) => given.layers[0]![name]!);
  deepEqual(
    held,
    MATRICES.map((name) => twin.layers[0]![name]!),
  );
  deepEqual(given.layers[1]!.query, twin.layers[1]!.query);
  for (const matrix of held) equal(matrix.mantissas.byteLength, 0);
  const { down } = given.layers[1]!;
  deepEqual(given.classifier, twin.classifier);
  ok(down.mantissas.byteLength === 0 && given.classifier.mantissas.byteLength > 0);
  deepEqual(given.finalGain, twin.finalGain);
  deepEqual(
    [given.shape, given.precision, given.epsilon],
    [twin.shape, twin.precision, twin.epsilon],
  );
});
