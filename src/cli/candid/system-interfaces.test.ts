// The interfaces that the system canisters publish are texts that a parser reads, with the methods and
// types that calls are served by.

import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { decodeWith, utf8Text } from "gyrotron/base";
import { encodeCandid, IDL } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import {
  canisterPublicInfoCodec,
  createReplica,
  type NetworkConfig,
  publicInfoKey,
  SYSTEM_CANISTERS,
} from "gyrotron/replica";
import { parseInterface } from "./interface.ts";

const config: NetworkConfig = {
  subnetId: Uint8Array.of(1),
  rootKeyDer: new Uint8Array(133),
  nodeKeys: [],
  priceNodes: 13,
  provisional: true,
  subnetAdmins: [],
  thresholdKeys: [],
};
/** Tables of recursive types depend on where the recursion is cut. */
const RECURSIVE = "icrc3_get_blocks";
const genesis = createReplica().genesis(config, 0n);

for (const { id, methods } of SYSTEM_CANISTERS) {
  test(`the interface of ${formatPrincipal(id)} is what it serves`, () => {
    const key = publicInfoKey(id).toHex();
    const write = genesis.find((entry) => entry.key.toHex() === key);
    ok(write?.value !== undefined);
    const { metadata } = decodeWith(canisterPublicInfoCodec, write.value);
    equal(metadata[0]?.name, "candid:service");
    const parsed = parseInterface(utf8Text(metadata[0].content) ?? "");
    deepEqual([...parsed.methods.keys()].toSorted(), Object.keys(methods).toSorted());
    for (const [name, { mode, argument, result }] of Object.entries(methods)) {
      const { argTypes, retTypes, annotations } = parsed.methods.get(name)!;
      deepEqual(annotations, mode === "query" ? ["query"] : [], name);
      equal(shapeOf(argTypes), shapeOf(argument === undefined ? [] : [argument]), name);
      if (name === RECURSIVE) {
        ok(IDL.subtype(retTypes[0]!, result) && IDL.subtype(result, retTypes[0]!), name);
        continue;
      }
      equal(shapeOf(retTypes), shapeOf([result]), name);
    }
  });
}

/** Types as their encoding describes them: the type table of `opt` of each, without a value. */
function shapeOf(types: IDL.Type[]): string {
  return encodeCandid(
    types.map((type) => IDL.Opt(type)),
    types.map(() => []),
  ).toHex();
}
