// Certificates as a client sees them: the SDK verifies what this area builds, and refuses whatever
// was changed on the way. Also what each record looks like in the tree.

import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import {
  Certificate,
  type HashTree as SdkTree,
  LookupPathStatus,
  lookupCanisterRanges,
  lookupCanisterRangesFallback,
} from "@icp-sdk/core/agent";
import { Principal } from "@icp-sdk/core/principal";
import fc from "fast-check";
import { DecodeError, encodeUleb128, utf8Bytes } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  canisterIdFromU64,
  decodeCbor,
  ed25519PublicKeyDer,
  selfAuthenticating,
  signBls,
} from "gyrotron/crypto";
import {
  type CanisterPublicInfo,
  CertifiedTree,
  certificateMessage,
  decodeCertificate,
  encodeCertificate,
  hashOfTree,
  type HashTree,
  type IngressStatus,
  lookupPath,
  treePath,
  verifyCertificate,
} from "./index.ts";

const secretKey = blsSecretKeyFromUniform(new Uint8Array(48).fill(7));
const rootKey = blsPublicKeyDer(secretKey);
const subnetId = selfAuthenticating(rootKey);
const nodeKey = ed25519PublicKeyDer(new Uint8Array(32).fill(1));
const nodeId = selfAuthenticating(nodeKey);
const canisterId = canisterIdFromU64(0x8000_0000_0000_0000n);
const ranges = [[canisterIdFromU64(0n), canisterIdFromU64(2n ** 64n - 1n)]] as const;
const stateRoot = new Uint8Array(32).fill(0xab);
const nowNs = BigInt(Date.now()) * 1_000_000n;
const target = { canisterId: Principal.fromUint8Array(canisterId) };

const info: CanisterPublicInfo = {
  controllers: [Uint8Array.of(4), nodeId, Uint8Array.of(1)],
  moduleHash: new Uint8Array(32).fill(3),
  certifiedData: Uint8Array.of(1, 2),
  createdNs: 5n,
  installedNs: 300n,
  metadata: [{ name: "candid:service", visibility: "public", content: utf8Bytes("service {}") }],
};

function createTree(timeNs = nowNs): CertifiedTree {
  const tree = new CertifiedTree();
  const nodes = [{ id: nodeId, publicKeyDer: nodeKey }];
  const subnet = { publicKeyDer: rootKey, type: "system" as const, canisterRanges: ranges, nodes };
  const metrics = {
    canisterCount: 1n,
    canisterStateBytes: 2n,
    consumedCyclesTotal: 2n ** 64n + 7n,
    updateTransactionsTotal: 3n,
  };
  tree.apply([
    { kind: "subnet", id: subnetId, info: subnet, metrics },
    { kind: "canister", id: canisterId, info },
  ]);
  tree.root(timeNs, stateRoot);
  return tree;
}

function certify(tree: CertifiedTree, paths: Uint8Array[][]): Uint8Array {
  const signature = signBls(secretKey, certificateMessage(tree.snapshot().rootHash));
  return encodeCertificate(tree.witness(paths), signature);
}

test("the SDK verifies a certificate and finds the reply in it", async () => {
  const tree = createTree();
  const id = new Uint8Array(32).fill(9);
  tree.apply([{ kind: "request", id, status: { kind: "replied", reply: Uint8Array.of(1, 2, 3) } }]);
  tree.root(nowNs, stateRoot);
  const bytes = certify(tree, [treePath("request_status", id)]);
  const certificate = await Certificate.create({ certificate: bytes, rootKey, principal: target });
  const found = (name: string) => certificate.lookup_path(["request_status", id, name]);
  deepEqual(found("reply"), { status: LookupPathStatus.Found, value: Uint8Array.of(1, 2, 3) });
  deepEqual(found("status"), { status: LookupPathStatus.Found, value: utf8Bytes("replied") });
  deepEqual(found("error_code"), { status: LookupPathStatus.Absent });
  const other = certificate.lookup_path(["request_status", new Uint8Array(32), "status"]);
  deepEqual(other, { status: LookupPathStatus.Absent });
  const hidden = treePath("canister", canisterId, "controllers");
  deepEqual(lookupPath(decodeCertificate(bytes).tree, hidden), { kind: "unknown" });
  equal(verifyCertificate(decodeCertificate(bytes), rootKey), true);
});

test("the SDK refuses another key, another tree and another time", async () => {
  const tree = createTree();
  const good = certify(tree, [treePath("time")]);
  const otherKey = blsPublicKeyDer(blsSecretKeyFromUniform(new Uint8Array(48).fill(8)));
  await rejects(Certificate.create({ certificate: good, rootKey: otherKey, principal: target }));
  const { signature } = decodeCertificate(good);
  tree.root(nowNs + 1n, stateRoot);
  const changed = encodeCertificate(tree.witness([]), signature);
  await rejects(Certificate.create({ certificate: changed, rootKey, principal: target }));
  equal(verifyCertificate(decodeCertificate(changed), rootKey), false);
  equal(verifyCertificate(decodeCertificate(good), nodeKey), false);
  const old = createTree(nowNs - 600_000_000_000n);
  await rejects(Certificate.create({ certificate: certify(old, []), rootKey, principal: target }));
});

test("the SDK accepts a delegation from the root, and verifyCertificate agrees", async () => {
  const subnetSecret = blsSecretKeyFromUniform(new Uint8Array(48).fill(5));
  const subnetKey = blsPublicKeyDer(subnetSecret);
  const id = selfAuthenticating(subnetKey);
  const root = createTree();
  const subnet = {
    publicKeyDer: subnetKey,
    type: "application" as const,
    canisterRanges: ranges,
    nodes: [],
  };
  root.apply([{ kind: "subnet", id, info: subnet }]);
  root.root(nowNs, stateRoot);
  const paths = [
    treePath("subnet", id, "public_key"),
    treePath("canister_ranges", id),
    treePath("subnet", id, "canister_ranges"),
  ];
  const delegation = { subnetId: id, certificate: certify(root, paths) };
  const child = createTree();
  const signature = signBls(subnetSecret, certificateMessage(child.snapshot().rootHash));
  const bytes = encodeCertificate(child.witness([]), signature, delegation);
  await Certificate.create({ certificate: bytes, rootKey, principal: target });
  const decoded = decodeCertificate(bytes);
  equal(verifyCertificate(decoded, rootKey), true);
  equal(verifyCertificate({ ...decoded, delegation: undefined }, rootKey), false);
  const nested = { ...delegation, certificate: bytes };
  equal(
    verifyCertificate({ ...decoded, delegation: nested }, rootKey),
    false,
    "a delegation has no delegation",
  );
  equal(
    verifyCertificate({ ...decoded, delegation: { ...delegation, subnetId: nodeId } }, rootKey),
    false,
  );
});

test("the SDK finds canister ranges in both places, and the node's key", () => {
  const tree = createTree().witness([treePath("subnet"), treePath("canister_ranges", subnetId)]);
  const parameters = {
    canisterId: target.canisterId,
    subnetId: Principal.fromUint8Array(subnetId),
    tree: tree as unknown as SdkTree,
  };
  const expected = [ranges[0].map((id) => id)];
  deepEqual(decodeCbor(lookupCanisterRanges(parameters)), expected);
  deepEqual(
    decodeCbor(lookupCanisterRangesFallback(parameters.subnetId, parameters.tree)),
    expected,
  );
  deepEqual(lookupPath(tree, treePath("subnet", subnetId, "node", nodeId, "public_key")), {
    kind: "found",
    value: nodeKey,
  });
});

test("every record has the leaves of the interface", () => {
  const tree = createTree();
  const leaf = (...labels: (string | Uint8Array)[]): Uint8Array | undefined =>
    tree.snapshot().leaf(treePath(...labels));
  deepEqual(leaf("time"), encodeUleb128(nowNs));
  deepEqual(leaf("gyrotron"), stateRoot);
  deepEqual(leaf("canister", canisterId, "certified_data"), Uint8Array.of(1, 2));
  deepEqual(leaf("canister", canisterId, "module_hash"), info.moduleHash);
  deepEqual(leaf("canister", canisterId, "canister_creation_timestamp"), Uint8Array.of(5));
  deepEqual(leaf("canister", canisterId, "last_install_timestamp"), Uint8Array.of(0xac, 2));
  deepEqual(leaf("canister", canisterId, "metadata", "candid:service"), utf8Bytes("service {}"));
  const controllers = leaf("canister", canisterId, "controllers")!;
  equal(controllers.subarray(0, 3).toHex(), "d9d9f7");
  deepEqual(decodeCbor(controllers), [Uint8Array.of(1), Uint8Array.of(4), nodeId]);
  deepEqual(leaf("subnet", subnetId, "type"), utf8Bytes("system"));
  deepEqual(leaf("subnet", subnetId, "public_key"), rootKey);
  // {0: 7, 1: 1} under text keys in canonical order
  const metrics = leaf("subnet", subnetId, "metrics")!.toHex();
  equal(metrics.includes(`${utf8Bytes("consumed_cycles_total").toHex()}a200070101`), true);
});

test("a canister without a module shows neither hash nor certified data nor install time", () => {
  const tree = createTree();
  tree.apply([
    { kind: "canister", id: canisterId, info: { controllers: [], createdNs: 1n, metadata: [] } },
  ]);
  tree.root(nowNs, stateRoot);
  const names = tree
    .snapshot()
    .labels(treePath("canister", canisterId))
    .map((label) => new TextDecoder().decode(label));
  deepEqual(names, ["canister_creation_timestamp", "controllers"]);
});

const STATUSES: readonly (readonly [IngressStatus, Record<string, Uint8Array>])[] = [
  [{ kind: "received" }, { status: utf8Bytes("received") }],
  [{ kind: "processing" }, { status: utf8Bytes("processing") }],
  [
    { kind: "replied", reply: Uint8Array.of(5) },
    { reply: Uint8Array.of(5), status: utf8Bytes("replied") },
  ],
  [
    { kind: "rejected", rejectCode: 4, message: "no", errorCode: "IC0406" },
    {
      error_code: utf8Bytes("IC0406"),
      reject_code: Uint8Array.of(4),
      reject_message: utf8Bytes("no"),
      status: utf8Bytes("rejected"),
    },
  ],
  [{ kind: "done" }, { status: utf8Bytes("done") }],
];

for (const [status, leaves] of STATUSES) {
  test(`request status ${status.kind}`, () => {
    const tree = createTree();
    const id = new Uint8Array(32).fill(1);
    tree.apply([
      { kind: "request", id, status: { kind: "processing" } },
      { kind: "request", id, status },
    ]);
    tree.root(nowNs, stateRoot);
    const snapshot = tree.snapshot();
    const names = snapshot.labels(treePath("request_status", id));
    deepEqual(
      Object.fromEntries(
        names.map((name) => [
          new TextDecoder().decode(name),
          snapshot.leaf([...treePath("request_status", id), name]),
        ]),
      ),
      leaves,
    );
  });
}

test("removing records gives back the old root; a snapshot does not follow changes", () => {
  const tree = createTree();
  const before = tree.snapshot();
  const id = new Uint8Array(32).fill(2);
  const extra = canisterIdFromU64(3n);
  tree.apply([
    { kind: "request", id, status: { kind: "received" } },
    { kind: "canister", id: extra, info },
  ]);
  tree.root(nowNs + 1n, stateRoot);
  equal(hashOfTree(before.witness([[]])).toHex(), before.rootHash.toHex());
  equal(before.leaf(treePath("request_status", id, "status")), undefined);
  deepEqual(before.leaf(treePath("time")), encodeUleb128(nowNs));
  tree.apply([
    { kind: "request", id },
    { kind: "canister", id: extra },
    { kind: "request", id: new Uint8Array(32) },
  ]);
  const again = createTree();
  again.apply([
    { kind: "request", id, status: { kind: "received" } },
    { kind: "request", id },
  ]);
  deepEqual(tree.root(nowNs, stateRoot), again.root(nowNs, stateRoot));
});

test("damaged certificates are refused or do not verify, and never surprise (fuzz)", () => {
  const parent = certify(createTree(), [treePath("subnet")]);
  const delegation = { subnetId, certificate: parent };
  const good = encodeCertificate(createTree().witness([]), new Uint8Array(48), delegation);
  let decodedCount = 0;
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), {
    minLength: 1,
    maxLength: 3,
  });
  const property = fc.property(damage, (edits) => {
    const bytes = good.slice();
    for (const [at, byte] of edits) bytes[at] = byte;
    try {
      hashOfTree(decodeCertificate(bytes).tree);
      decodedCount++;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  });
  fc.assert(property, { seed: 13, numRuns: 800 });
  equal(decodedCount > 50, true);
  const tree: HashTree = [0];
  const signature = new Uint8Array(48);
  const broken = { subnetId, certificate: Uint8Array.of(0xa0) };
  equal(verifyCertificate({ tree, signature, delegation: broken }, rootKey), false);
  equal(verifyCertificate({ tree, signature }, Uint8Array.of(1)), false);
});

test("malformed certificates are refused", () => {
  const good = certify(createTree(), []);
  for (let cut = 0; cut < good.length; cut += 7)
    throws(() => decodeCertificate(good.subarray(0, cut)), DecodeError);
  const tree: HashTree = [0];
  throws(
    () => decodeCertificate(encodeCertificate(tree, "no" as unknown as Uint8Array)),
    DecodeError,
  );
  throws(
    () => decodeCertificate(encodeCertificate("no" as unknown as HashTree, new Uint8Array(48))),
    DecodeError,
  );
  equal(verifyCertificate({ tree, signature: new Uint8Array(0) }, rootKey), false);
});
