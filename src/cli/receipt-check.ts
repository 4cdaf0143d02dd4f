// What a stranger can check of a receipt: its hashes, its place in the certified range, the
// certificate, and, by running the job again, the result. Reports each check; decides nothing else.

import { DecodeError, decodeWith, equalBytes, formatHex } from "gyrotron/base";
import {
  decodeJobResult,
  type Job,
  type JobResult,
  jobHash,
  jobResultHash,
  rangeRoot,
  type Receipt,
  receiptCodec,
  receiptHash,
  verifyLeaf,
} from "gyrotron/job";
import {
  type Certificate,
  decodeCertificate,
  LLM_CANISTER_ID,
  lookupPath,
  treePath,
  verifyCertificate,
} from "gyrotron/replica";
import type { ReceiptEvidence } from "./receipt-evidence.ts";

/** One check and how it came out. */
export interface Check {
  readonly name: string;
  readonly isOk: boolean;
  readonly detail: string;
}

/** The checks, and the receipt if its bytes are one. */
export interface CheckedReceipt {
  readonly checks: readonly Check[];
  readonly receipt: Receipt | undefined;
  readonly hash: Uint8Array | undefined;
}

/** Checks everything but the model's work. `expectedHash`: the receipt that was asked for. */
export function checkEvidence(
  evidence: ReceiptEvidence,
  trust: { rootKeyDer: Uint8Array; expectedHash?: Uint8Array | undefined },
): CheckedReceipt {
  const receipt = decodeReceipt(evidence.receipt);
  if (receipt === undefined) {
    const check = { name: "receipt", isOk: false, detail: "its bytes are no receipt" };
    return { checks: [check], receipt, hash: undefined };
  }
  const hash = receiptHash(receipt);
  const { expectedHash = hash } = trust;
  const checks = [
    compare("receipt hash", expectedHash, hash),
    compare("job hash", receipt.jobHash, jobHash(receipt.job)),
    compare("result hash", receipt.resultHash, jobResultHash(receipt.result)),
    checkCharge(receipt),
    checkProof(evidence, hash),
    ...checkCertificate(evidence, trust.rootKeyDer),
  ];
  return { checks, receipt, hash };
}

/** Compares a receipt with what the same job came to here: `encoded` is this run's result. */
export function checkRerun(receipt: Receipt, encoded: Uint8Array): Check[] {
  const claimed = readResult(receipt.result);
  const found = decodeJobResult(encoded);
  const isSameText = claimed !== undefined && textOf(claimed) === textOf(found);
  const [claimedDigest, digest] = [claimed && digestOf(claimed), digestOf(found)];
  return [
    {
      name: "rerun: text",
      isOk: isSameText,
      detail: isSameText ? sizeOf(found) : "this run wrote another text",
    },
    {
      name: "rerun: digest of all logits",
      isOk: claimedDigest === digest,
      detail: claimedDigest === digest ? digest : `${claimedDigest} expected, it is ${digest}`,
    },
    compare("rerun: result hash", receipt.resultHash, jobResultHash(encoded)),
  ];
}

/** The result in a receipt; undefined if its bytes are none. */
export function readResult(bytes: Uint8Array): JobResult | undefined {
  return decodeOrNot(() => decodeJobResult(bytes));
}

/** Where the job's last user message is: what was asked. */
export function promptOf(job: Job): string {
  return job.messages.findLast(({ role }) => role === "user")?.content ?? "";
}

function textOf(result: JobResult): string {
  return result.kind === "completed" ? result.text : `${result.reason}: ${result.detail}`;
}

function sizeOf(result: JobResult): string {
  if (result.kind === "failed") return textOf(result);
  return `${result.outputTokens} tokens, ${result.text.length} characters`;
}

function digestOf(result: JobResult): string {
  return result.kind === "completed" ? formatHex(result.logitsDigest) : "none";
}

function checkCharge({ charged, quoteMaximum }: Receipt): Check {
  const detail = `${charged} cycles of at most ${quoteMaximum}`;
  return { name: "charge within quote", isOk: charged <= quoteMaximum, detail };
}

function checkProof({ range, leafIndex, siblings }: ReceiptEvidence, hash: Uint8Array): Check {
  const mountains = range.leafCount.toString(2).replaceAll("0", "").length;
  const isOk =
    range.peaks.length === mountains &&
    verifyLeaf(range, hash, { leafIndex, siblings: [...siblings] });
  const place = `receipt ${leafIndex} of ${range.leafCount}`;
  const detail = isOk ? place : `the proof does not show it as ${place}`;
  return { name: "proof in the range of receipts", isOk, detail };
}

function checkCertificate(
  { certificate, range }: ReceiptEvidence,
  rootKeyDer: Uint8Array,
): Check[] {
  const decoded = decodeOrNot(() => decodeCertificate(certificate));
  if (decoded === undefined) {
    return [{ name: "certificate", isOk: false, detail: "its bytes are no certificate" }];
  }
  return [checkSignature(decoded, rootKeyDer), checkCertifiedRange(decoded, rangeRoot(range))];
}

function checkSignature(certificate: Certificate, rootKeyDer: Uint8Array): Check {
  const name = "certificate";
  // The LLM canister's receipts are certified by the network that runs it, by its own key.
  if (certificate.delegation !== undefined) {
    return { name, isOk: false, detail: "it is of another network: it has a delegation" };
  }
  const isOk = verifyCertificate(certificate, rootKeyDer);
  const key = `the root key ${formatHex(rootKeyDer.slice(-8))}`;
  const detail = isOk ? `signed by ${key}` : `not signed by ${key}`;
  return { name, isOk, detail };
}

function checkCertifiedRange(certificate: Certificate, root: Uint8Array): Check {
  const name = "certified range";
  const path = treePath("canister", LLM_CANISTER_ID, "certified_data");
  const found = lookupPath(certificate.tree, path);
  if (found.kind === "found") return compare(name, found.value, root);
  return { name, isOk: false, detail: "the certificate says nothing of the LLM canister's data" };
}

function compare(name: string, expected: Uint8Array, actual: Uint8Array): Check {
  const isOk = equalBytes(expected, actual);
  const detail = isOk
    ? formatHex(actual)
    : `${formatHex(expected)} expected, it is ${formatHex(actual)}`;
  return { name, isOk, detail };
}

function decodeReceipt(bytes: Uint8Array): Receipt | undefined {
  return decodeOrNot(() => decodeWith(receiptCodec, bytes));
}

function decodeOrNot<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
