// A model whose tensors lie in several safetensors files, as an index names them
// (model.safetensors.index.json). Every shard is opened and checked; tensors are read when asked for.

import { DecodeError, MIB, present, utf8Text } from "gyrotron/base";
import type { ByteSource } from "./byte-source.ts";
import { Safetensors, type StoredTensor, type TensorStore } from "./safetensors.ts";

const INDEX_BYTES_MAX: number = 16 * MIB;
const SHARDS_MAX = 1024;
/** A name beside the index, and nowhere else. */
const SHARD_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** The bytes of the index, and a way to open the files that it names. */
export interface SafetensorsShards {
  readonly index: Uint8Array;
  /** The file of a name beside the index. */
  open(name: string): ByteSource;
}

/** Tensors of all shards by name. */
export class ShardedTensors implements TensorStore {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #shardOf: ReadonlyMap<StoredTensor, { name: string; file: Safetensors }>;

  /** @throws DecodeError `safetensors-index/decode` on the index, `safetensors/decode` that names the shard */
  constructor({ index, open }: SafetensorsShards) {
    const places = decodeIndex(index);
    const tensors = new Map<string, StoredTensor>();
    const shardOf = new Map<StoredTensor, { name: string; file: Safetensors }>();
    for (const name of new Set(places.values())) {
      const file = naming(name, () => new Safetensors(open(name)));
      for (const [tensorName, tensor] of file.tensors) {
        if (places.get(tensorName) !== name)
          throw indexError(`${name} holds ${tensorName}, which the index does not place there`);
        tensors.set(tensorName, tensor);
        shardOf.set(tensor, { name, file });
      }
    }
    for (const [tensorName, name] of places) {
      if (!tensors.has(tensorName)) throw indexError(`${tensorName} is not in ${name}`);
    }
    this.tensors = tensors;
    this.#shardOf = shardOf;
  }

  floats(tensor: StoredTensor, first?: number, count?: number): Float32Array {
    const { name, file } = present(this.#shardOf.get(tensor));
    return naming(name, () => file.floats(tensor, first, count));
  }
}

/** The files that an index names. @throws DecodeError `safetensors-index/decode` */
export function shardNames(index: Uint8Array): string[] {
  return [...new Set(decodeIndex(index).values())];
}

/** Which file each tensor is in. */
function decodeIndex(bytes: Uint8Array): Map<string, string> {
  if (bytes.length > INDEX_BYTES_MAX) throw indexError("too long");
  const text = utf8Text(bytes);
  if (text === undefined) throw indexError("not UTF-8");
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch {
    throw indexError("not JSON");
  }
  const map = isRecord(index) && "weight_map" in index ? index.weight_map : undefined;
  if (!isRecord(map)) throw indexError("no weight_map");
  const places = new Map<string, string>();
  for (const [tensor, name] of Object.entries(map)) {
    if (typeof name !== "string" || !SHARD_NAME.test(name))
      throw indexError(`the file of ${tensor.slice(0, 100)} is no name of a file beside the index`);
    places.set(tensor, name);
  }
  const shards = new Set(places.values()).size;
  if (shards < 1 || shards > SHARDS_MAX) throw indexError(`${shards} files, 1 to ${SHARDS_MAX}`);
  return places;
}

/** Runs `body`; what is wrong with a shard is said with its name. */
function naming<T>(shard: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const { code, what, offset } = error.info;
    throw new DecodeError({ code, what: `${shard}: ${what}`, offset }, { cause: error });
  }
}

function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function indexError(what: string): DecodeError {
  return new DecodeError({ code: "safetensors-index/decode", what, offset: 0 });
}
