// Goal: threshold keys and outcalls as tasks: checked, paid, agreed on, answered once.
// Method: the proxy asks; the test plays the nodes, with the true keys and with made-up responses.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { decodeWith, encodeWith } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import {
  ed25519PublicKeyDer,
  sha256,
  signEd25519,
  signThreshold,
  thresholdMasterKey,
  verifyThreshold,
} from "gyrotron/crypto";
import {
  createReplica,
  encodeTaskAttestation,
  encodeTaskResult,
  type IngressStatus,
  KEY_PREFIX,
  type OutcallResult,
  outcallResultCodec,
  type OutsideTask,
  outsideTaskCodec,
  taskResultHash,
} from "gyrotron/replica";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { ReplicaHarness, wat } from "./harness.ts";
import { forwardArgument, PROXY } from "./proxy.ts";

const SEED = new Uint8Array(32).fill(9);
const SCHEMES = ["ecdsa", "bip340", "ed25519", "vetkd"] as const;
const KEY = "dfx_test_key";
const SIGNATURE_PRICE = 10_000_000_000n;
const blob = IDL.Vec(IDL.Nat8);
const path = IDL.Vec(blob);
const ECDSA_KEY = IDL.Record({ curve: IDL.Variant({ secp256k1: IDL.Null }), name: IDL.Text });
const SCHNORR_KEY = IDL.Record({
  algorithm: IDL.Variant({ bip340secp256k1: IDL.Null, ed25519: IDL.Null }),
  name: IDL.Text,
});
const VETKD_KEY = IDL.Record({ curve: IDL.Variant({ bls12_381_g2: IDL.Null }), name: IDL.Text });
const ecdsaKey = { curve: { secp256k1: null }, name: KEY };
const PUBLIC_KEY = IDL.Record({ public_key: blob, chain_code: blob });
const SIGN_ECDSA = IDL.Record({ message_hash: blob, derivation_path: path, key_id: ECDSA_KEY });
const ASK_ECDSA = IDL.Record({
  canister_id: IDL.Opt(IDL.Principal),
  derivation_path: path,
  key_id: ECDSA_KEY,
});
const HASH = sha256(Uint8Array.of(1, 2, 3));
const PATH = [Uint8Array.of(1), Uint8Array.of(2, 3)];

/** A network of nodes that the test plays. */
class OutsideNetwork extends ReplicaHarness {
  readonly seeds: Uint8Array[];
  readonly proxy: Uint8Array;

  constructor(nodes: number, provisional = true) {
    const seeds = Array.from({ length: nodes }, (_, index) => new Uint8Array(32).fill(index + 1));
    super(createReplica(), seeds.map(ed25519PublicKeyDer), {
      thresholdKeys: SCHEMES.map((scheme) => ({
        scheme,
        name: KEY,
        publicKey: thresholdMasterKey(SEED, scheme, KEY),
      })),
    });
    this.seeds = seeds;
    this.proxy = this.install(PROXY);
    if (!provisional) this.#setProvisional();
  }

  tasks(): OutsideTask[] {
    return [...this.view.range(KEY_PREFIX.outsideTask)].map(([, bytes]) =>
      decodeWith(outsideTaskCodec, bytes),
    );
  }

  /** Asks through the proxy; the answer may come later. */
  ask(method: string, type: IDL.Type, value: unknown, cycles = 0n): Uint8Array {
    const argument = forwardArgument(method, encodeCandid([type], [value]), cycles);
    const envelope = this.envelope(this.proxy, "forward", argument);
    this.settle(envelope);
    return envelope;
  }

  answer(envelope: Uint8Array): Uint8Array {
    const status: IngressStatus = this.status(envelope);
    ok(status.kind === "replied", status.kind);
    return status.reply;
  }

  /** The answer of a method that is answered at once; a reject is its text. */
  reply(method: string, type: IDL.Type, value: unknown, cycles = 0n): Uint8Array {
    return this.answer(this.ask(method, type, value, cycles));
  }

  attests(node: number, task: bigint, result: Uint8Array): Uint8Array {
    const seed = this.seeds[node]!;
    return encodeTaskAttestation(
      task,
      taskResultHash(result),
      ed25519PublicKeyDer(seed),
      (message) => signEd25519(seed, message),
    );
  }

  /** Balances, what is consumed, and what waits with tasks. */
  total(): bigint {
    return this.tasks().reduce((sum, task) => sum + task.refund, this.cyclesTotal());
  }

  #setProvisional(): void {
    const other = new ReplicaHarness(createReplica(), undefined, { provisional: false });
    const [entry] = [...other.view.range(KEY_PREFIX.network)];
    this.view.apply([{ key: entry![0], value: entry![1] }]);
  }
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

test("ecdsa: what the nodes sign verifies under the public key that the canister asked for", () => {
  const network = new OutsideNetwork(1);
  const before = network.total();
  const asked = { canister_id: [], derivation_path: PATH, key_id: ecdsaKey };
  const [key] = decodeCandid([PUBLIC_KEY], network.reply("ecdsa_public_key", ASK_ECDSA, asked)) as [
    { public_key: Uint8Array; chain_code: Uint8Array },
  ];
  equal(key.public_key.length, 33);
  equal(key.chain_code.length, 32);
  const named = { ...asked, canister_id: [toIdlPrincipal(network.proxy)] };
  deepEqual(
    decodeCandid([PUBLIC_KEY], network.reply("ecdsa_public_key", ASK_ECDSA, named)),
    [key],
    "anyone may ask for another's key",
  );
  const envelope = network.ask(
    "sign_with_ecdsa",
    SIGN_ECDSA,
    { message_hash: HASH, derivation_path: PATH, key_id: ecdsaKey },
    SIGNATURE_PRICE + 5n,
  );
  const [task] = network.tasks();
  ok(task?.work.kind === "sign");
  equal(network.total(), before, "the price is counted, the rest waits with the task");
  const signature = signThreshold(SEED, KEY, task.work);
  const wrong = signature.with(10, signature[10]! ^ 1);
  network.settle(encodeTaskResult(task.number, wrong), encodeTaskResult(99n, signature));
  equal(network.tasks().length, 1, "a signature that does not verify is no answer");
  network.settle(
    encodeTaskResult(task.number, signature),
    encodeTaskResult(task.number, signature),
  );
  const [reply] = decodeCandid([IDL.Record({ signature: blob })], network.answer(envelope)) as [
    { signature: Uint8Array },
  ];
  deepEqual(reply.signature, signature);
  equal(network.tasks().length, 0);
  equal(network.total(), before);
  equal(network.canister(network.proxy).consumed.signatures, SIGNATURE_PRICE);
});

test("schnorr and vetkd: both algorithms, the tweak, and derived keys", () => {
  const network = new OutsideNetwork(1);
  const SIGN = IDL.Record({
    message: blob,
    derivation_path: path,
    key_id: SCHNORR_KEY,
    aux: IDL.Opt(IDL.Variant({ bip341: IDL.Record({ merkle_root_hash: blob }) })),
  });
  const answerWith = (envelope: Uint8Array): Uint8Array => {
    const [task] = network.tasks();
    ok(task?.work.kind === "sign");
    const result = signThreshold(SEED, KEY, task.work);
    ok(verifyThreshold(thresholdMasterKey(SEED, task.work.scheme, KEY), task.work, result));
    network.settle(encodeTaskResult(task.number, result));
    return network.answer(envelope);
  };
  for (const [algorithm, aux] of [
    ["ed25519", []],
    ["bip340secp256k1", []],
    ["bip340secp256k1", [{ bip341: { merkle_root_hash: new Uint8Array(32) } }]],
  ] as const) {
    const key_id = { algorithm: { [algorithm]: null }, name: KEY };
    const value = { message: Uint8Array.of(7), derivation_path: PATH, key_id, aux };
    const envelope = network.ask("sign_with_schnorr", SIGN, value, SIGNATURE_PRICE);
    const [reply] = decodeCandid([IDL.Record({ signature: blob })], answerWith(envelope)) as [
      { signature: Uint8Array },
    ];
    equal(reply.signature.length, 64);
  }
  const DERIVE = IDL.Record({
    input: blob,
    context: blob,
    transport_public_key: blob,
    key_id: VETKD_KEY,
  });
  const key_id = { curve: { bls12_381_g2: null }, name: KEY };
  // The generator: a transport key like any other.
  const transport_public_key = Uint8Array.fromHex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
  );
  const value = {
    input: Uint8Array.of(1),
    context: Uint8Array.of(2),
    transport_public_key,
    key_id,
  };
  const envelope = network.ask("vetkd_derive_key", DERIVE, value, SIGNATURE_PRICE);
  const [reply] = decodeCandid([IDL.Record({ encrypted_key: blob })], answerWith(envelope)) as [
    { encrypted_key: Uint8Array },
  ];
  equal(reply.encrypted_key.length, 192);
  const refused = network.reply(
    "vetkd_derive_key",
    DERIVE,
    { ...value, transport_public_key: new Uint8Array(48) },
    SIGNATURE_PRICE,
  );
  match(textOf(refused), /IC0408.*transport_public_key/);
  const VETKD_PUBLIC = IDL.Record({
    canister_id: IDL.Opt(IDL.Principal),
    context: blob,
    key_id: VETKD_KEY,
  });
  const [key] = decodeCandid(
    [IDL.Record({ public_key: blob })],
    network.reply("vetkd_public_key", VETKD_PUBLIC, {
      canister_id: [],
      context: Uint8Array.of(2),
      key_id,
    }),
  ) as [{ public_key: Uint8Array }];
  equal(key.public_key.length, 96);
});

test("requests for signatures that are refused cost nothing", () => {
  const network = new OutsideNetwork(1);
  const before = network.canister(network.proxy).consumed.signatures;
  const value = { message_hash: HASH, derivation_path: PATH, key_id: ecdsaKey };
  const ask = (change: object, cycles = SIGNATURE_PRICE): string =>
    textOf(network.reply("sign_with_ecdsa", SIGN_ECDSA, { ...value, ...change }, cycles));
  match(ask({}, SIGNATURE_PRICE - 1n), /IC0406.*sent with 9999999999 cycles, but 10000000000/);
  match(ask({ message_hash: HASH.slice(1) }), /IC0408.*31 bytes/);
  match(ask({ key_id: { ...ecdsaKey, name: "key_2" } }), /IC0406.*ecdsa:key_2.*\[dfx_test_key\]/);
  const long = Array.from({ length: 256 }, () => Uint8Array.of(1));
  match(ask({ derivation_path: long }), /IC0408.*maximum allowed 255/);
  equal(network.canister(network.proxy).consumed.signatures, before);
  equal(network.tasks().length, 0);
  const user = network.call(
    MANAGEMENT_CANISTER,
    "sign_with_ecdsa",
    encodeCandid([SIGN_ECDSA], [value]),
  );
  ok(user.kind === "rejected" && /Only canisters can call/.test(user.message));
});

test("a request that nobody signs is rejected at its deadline", () => {
  const network = new OutsideNetwork(1);
  const value = { message_hash: HASH, derivation_path: PATH, key_id: ecdsaKey };
  const envelope = network.ask("sign_with_ecdsa", SIGN_ECDSA, value, SIGNATURE_PRICE);
  equal(network.replica.wakeup(network.view), network.tasks()[0]!.deadlineNs);
  network.timeNs = network.tasks()[0]!.deadlineNs;
  network.settle();
  equal(textOf(network.answer(envelope)), "Signature request expired");
  equal(network.tasks().length, 0);
});

const HEADER = IDL.Record({ name: IDL.Text, value: IDL.Text });
const RESPONSE = IDL.Record({ status: IDL.Nat, headers: IDL.Vec(HEADER), body: blob });
const REQUEST = IDL.Record({
  url: IDL.Text,
  max_response_bytes: IDL.Opt(IDL.Nat64),
  method: IDL.Variant({ get: IDL.Null, head: IDL.Null, post: IDL.Null, put: IDL.Null }),
  headers: IDL.Vec(HEADER),
  body: IDL.Opt(blob),
  transform: IDL.Opt(
    IDL.Record({
      function: IDL.Func(
        [IDL.Record({ response: RESPONSE, context: blob })],
        [RESPONSE],
        ["query"],
      ),
      context: blob,
    }),
  ),
  is_replicated: IDL.Opt(IDL.Bool),
});
const GET = {
  url: "https://example.com/",
  max_response_bytes: [1000n],
  method: { get: null },
  headers: [],
  body: [],
  transform: [],
  is_replicated: [],
};

function response(text: string): Uint8Array {
  const bytes = encodeCandid(
    [RESPONSE],
    [{ status: 200n, headers: [], body: new TextEncoder().encode(text) }],
  );
  return encodeWith<OutcallResult>(outcallResultCodec, { kind: "response", bytes });
}

test("an outcall is answered with what more than two thirds of the nodes have seen", () => {
  const network = new OutsideNetwork(4);
  const before = network.total();
  const envelope = network.ask("http_request", REQUEST, GET, 60_000_000n);
  const [task] = network.tasks();
  ok(task !== undefined);
  // 13 nodes, 20 bytes of URL, 1000 of response.
  const price = 13n * (3_000_000n + 60_000n * 13n) + 13n * (400n * 20n + 800n * 1000n);
  equal(network.canister(network.proxy).consumed.httpOutcalls, price);
  equal(task.refund, 60_000_000n - price);
  const [truth, lie] = [response("truth"), response("lie")];
  network.settle(network.attests(0, task.number, truth), network.attests(1, task.number, lie));
  network.settle(network.attests(1, task.number, truth), network.attests(2, task.number, truth));
  network.settle(encodeTaskResult(task.number, truth));
  equal(network.tasks().length, 1, "a node counts once, and two of four are too few");
  network.settle(network.attests(3, task.number, truth), encodeTaskResult(task.number, lie));
  equal(network.tasks().length, 1, "other bytes than those agreed on are not delivered");
  network.settle(encodeTaskResult(task.number, truth));
  const [answer] = decodeCandid([RESPONSE], network.answer(envelope)) as [{ body: Uint8Array }];
  equal(textOf(answer.body), "truth");
  equal(network.total(), before);
});

test("one node suffices where the canister wants only one", () => {
  const network = new OutsideNetwork(4);
  const value = { ...GET, method: { put: null }, is_replicated: [false] };
  const envelope = network.ask("http_request", REQUEST, value, 60_000_000n);
  const [task] = network.tasks();
  ok(task?.work.kind === "outcall" && task.work.node !== undefined);
  const { node } = task.work;
  const result = response("mine");
  network.settle(network.attests((node + 1) % 4, task.number, result));
  network.settle(encodeTaskResult(task.number, result));
  equal(network.tasks().length, 1, "another node's word counts for nothing");
  network.settle(network.attests(node, task.number, result), encodeTaskResult(task.number, result));
  match(textOf(network.answer(envelope)), /mine/);
});

test("failures, garbage and silence are rejects with the system's codes", () => {
  const network = new OutsideNetwork(1);
  const failing = (result: Uint8Array): string => {
    const envelope = network.ask("http_request", REQUEST, GET, 60_000_000n);
    const [task] = network.tasks();
    network.settle(
      network.attests(0, task!.number, result),
      encodeTaskResult(task!.number, result),
    );
    return textOf(network.answer(envelope));
  };
  const failed = encodeWith<OutcallResult>(outcallResultCodec, {
    kind: "failed",
    isTransient: true,
    message: "Connecting failed",
  });
  equal(failing(failed), "Connecting failed");
  equal(failing(Uint8Array.of(9, 9)), "The result does not decode.");
  const envelope = network.ask("http_request", REQUEST, GET, 60_000_000n);
  network.timeNs += 60_000_000_000n;
  network.settle();
  equal(textOf(network.answer(envelope)), "Canister http request timed out");
});

test("outcalls that are refused cost nothing", () => {
  const network = new OutsideNetwork(1);
  const ask = (change: object, cycles = 400_000_000_000n): string =>
    textOf(network.reply("http_request", REQUEST, { ...GET, ...change }, cycles));
  match(ask({}, 1_000n), /IC0406.*sent with 1000 cycles, but \d+ cycles are required/);
  match(ask({ url: "ftp://example.com" }), /https scheme/);
  match(ask({ url: "example.com" }), /https scheme/);
  match(ask({ url: `https://${"a".repeat(8200)}` }), /exceeds maximum 8192/);
  match(ask({ max_response_bytes: [2_000_001n] }), /range \[0\.\.2000000\]/);
  match(ask({ method: { put: null } }), /is_replicated/);
  const header = { name: "x", value: "y" };
  match(ask({ headers: Array.from({ length: 65 }, () => header) }), /65 exceeds maximum 64/);
  match(ask({ headers: [{ name: "x", value: "y".repeat(8193) }] }), /longer than 8192/);
  const large = { name: "x", value: "y".repeat(8192) };
  match(ask({ headers: [large, large, large, large, large, large] }), /exceeds maximum 49152/);
  const foreign = [toIdlPrincipal(Uint8Array.of(1, 1)), "transform"];
  match(ask({ transform: [{ function: foreign, context: [] }] }), /requester canister/);
  equal(network.canister(network.proxy).consumed.httpOutcalls, 0n);
  equal(network.tasks().length, 0);
  network.ask("http_request", REQUEST, { ...GET, url: "http://localhost/" }, 60_000_000n);
  equal(network.tasks().length, 1, "a development network allows plain HTTP");
  const production = new OutsideNetwork(1, false);
  match(
    textOf(
      production.reply("http_request", REQUEST, { ...GET, url: "http://localhost/" }, 60_000_000n),
    ),
    /https scheme/,
  );
});

test("a transform runs in a mode of its own, and only the node can start one", () => {
  const network = new ReplicaHarness();
  const id = network.install(
    wat(`(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
      (import "ic0" "msg_caller_size" (func $caller (result i32)))
      (import "ic0" "data_certificate_size" (func $certificate (result i32)))
      (memory 1)
      (func (export "canister_query transform")
        (i32.store8 (i32.const 0) (call $caller))
        (call $append (i32.const 0) (i32.const 1)) (call $reply))
      (func (export "canister_query certified") (drop (call $certificate)) (call $reply))
      (func (export "canister_composite_query composite") (call $reply)))`),
  );
  const transform = (method: string): ReturnType<ReplicaHarness["query"]> =>
    network.replica.query(network.view, network.timeNs, {
      ...network.content(id, method),
      sender: MANAGEMENT_CANISTER,
      isTransform: true,
    });
  const result = transform("transform");
  ok(result.kind === "replied");
  deepEqual([...result.reply], [0], "the caller is the management canister");
  const wrongMode = transform("certified");
  ok(wrongMode.kind === "rejected" && wrongMode.errorCode === "IC0504", "not allowed there");
  const composite = transform("composite");
  ok(composite.kind === "rejected" && composite.errorCode === "IC0536");
});

test("bitcoin methods say that there is no Bitcoin here", () => {
  const network = new OutsideNetwork(1);
  const type = IDL.Record({ address: IDL.Text });
  const text = textOf(network.reply("bitcoin_get_balance", type, { address: "x" }, 1_000n));
  match(text, /^IC0406: bitcoin_get_balance is not available.*not connected to Bitcoin/);
});
