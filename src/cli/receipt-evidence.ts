// A receipt with what proves it, as a node serves it and as a file keeps it (spec 05 section 5): fetched,
// decoded, saved. Everything in it is untrusted until receipt-check.ts has checked it.

import { readFileSync, writeFileSync } from "node:fs";
import { DecodeError, formatHex } from "gyrotron/base";
import { type CborMap, type CborValue, decodeCbor, encodeSelfDescribedCbor } from "gyrotron/crypto";
import type { MountainRange } from "gyrotron/job";
import { CliError } from "./cli-error.ts";

/** A receipt, its place in the range of receipts, and the certificate of the range's root. */
export interface ReceiptEvidence {
  readonly receipt: Uint8Array;
  readonly leafIndex: bigint;
  readonly siblings: readonly Uint8Array[];
  readonly range: MountainRange;
  readonly certificate: Uint8Array;
}

const RECEIPTS_PATH = "/gyrotron/v1/receipts";
const REQUESTS_PATH = "/gyrotron/v1/requests";
const HASH_BYTES = 32;
/** A range has at most as many mountains, and a proof as many siblings, as its count has bits. */
const COUNT_BITS = 64;

/** The receipts of all jobs that a request led to. @throws CliError `cli/node-refused`, DecodeError */
export function fetchReceiptsOfRequest(
  url: string,
  requestId: Uint8Array,
): Promise<ReceiptEvidence[]> {
  return fetchReceipts(`${url}${REQUESTS_PATH}/${formatHex(requestId)}/receipts`);
}

/** A receipt by its hash. @throws CliError `cli/node-refused`, DecodeError */
export async function fetchReceipt(url: string, hash: Uint8Array): Promise<ReceiptEvidence> {
  const [evidence] = await fetchReceipts(`${url}${RECEIPTS_PATH}/${formatHex(hash)}`);
  if (evidence === undefined) throw malformed("no receipt");
  return evidence;
}

/** Keeps a receipt with its proof, to be verified later without the node. @throws CliError `cli/file` */
export function saveEvidence(file: string, evidence: ReceiptEvidence): void {
  try {
    writeFileSync(file, encodeEvidence([evidence]));
  } catch (error) {
    throw fileError(file, error);
  }
}

/** What was saved. @throws CliError `cli/file` */
export function loadEvidence(file: string): ReceiptEvidence {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw fileError(file, error);
  }
  try {
    const [evidence] = decodeEvidence(new Uint8Array(bytes));
    if (evidence !== undefined) return evidence;
  } catch (error) {
    if (error instanceof DecodeError) {
      const problem = `it is not a receipt: ${error.info.what} at byte ${error.info.offset}`;
      throw new CliError({ code: "cli/file", file, problem }, { cause: error });
    }
    throw error;
  }
  throw new CliError({ code: "cli/file", file, problem: "it holds no receipt" });
}

/** Encoding in answers and files. */
export function encodeEvidence(receipts: readonly ReceiptEvidence[]): Uint8Array {
  return encodeSelfDescribedCbor({
    receipts: receipts.map(({ receipt, leafIndex, siblings, range, certificate }) => ({
      receipt,
      leaf_index: leafIndex,
      siblings,
      leaf_count: range.leafCount,
      peaks: range.peaks,
      certificate,
    })),
  });
}

/** @throws DecodeError `cbor/decode`, `evidence/decode` */
export function decodeEvidence(bytes: Uint8Array): ReceiptEvidence[] {
  const answer = decodeCbor(bytes);
  const receipts = answer instanceof Map ? answer.get("receipts") : undefined;
  if (!Array.isArray(receipts)) throw malformed("no list of receipts");
  return receipts.map((item) => {
    if (!(item instanceof Map)) throw malformed("a receipt is not a map");
    return {
      receipt: bytesField(item, "receipt"),
      leafIndex: integerField(item, "leaf_index"),
      siblings: hashesField(item, "siblings"),
      range: { leafCount: integerField(item, "leaf_count"), peaks: hashesField(item, "peaks") },
      certificate: bytesField(item, "certificate"),
    };
  });
}

async function fetchReceipts(address: string): Promise<ReceiptEvidence[]> {
  let response: Response;
  let body: Uint8Array;
  try {
    response = await fetch(address);
    body = new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new CliError(
      { code: "cli/node-not-running", url: new URL(address).origin },
      { cause: error },
    );
  }
  if (response.ok) return decodeEvidence(body);
  const message = new TextDecoder().decode(body);
  throw new CliError({ code: "cli/node-refused", status: response.status, message });
}

function bytesField(map: CborMap, name: string): Uint8Array {
  const value = map.get(name);
  if (value instanceof Uint8Array) return value;
  throw malformed(`${name} is not a byte string`);
}

function integerField(map: CborMap, name: string): bigint {
  const value = map.get(name);
  if (typeof value === "bigint" && value >= 0n && value < 1n << BigInt(COUNT_BITS)) return value;
  throw malformed(`${name} is not a count`);
}

function hashesField(map: CborMap, name: string): Uint8Array[] {
  const value: CborValue | undefined = map.get(name);
  if (!Array.isArray(value) || value.length > COUNT_BITS) throw malformed(`${name} is not a list`);
  return value.map((item) => {
    if (item instanceof Uint8Array && item.length === HASH_BYTES) return item;
    throw malformed(`${name} has an item that is no hash`);
  });
}

function malformed(what: string): DecodeError {
  return new DecodeError({ code: "evidence/decode", what, offset: 0 });
}

function fileError(file: string, error: unknown): CliError {
  const problem = error instanceof Error ? error.message : String(error);
  return new CliError({ code: "cli/file", file, problem }, { cause: error });
}
