// The chunk store: modules too large for one message arrive in pieces of at most 1 MiB.

import {
  CHUNK_STORE_CHUNK_BYTES_MAX,
  CHUNK_STORE_CHUNKS_MAX,
  concatBytes,
  equalBytes,
} from "gyrotron/base";
import type { IdlPrincipal } from "gyrotron/candid";
import { sha256 } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { DIDL_EMPTY } from "./candid-constants.ts";
import {
  findCanister,
  findControlled,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { countModuleBytes, type GivenMode, installModule } from "./install.ts";

/** upload_chunk: idempotent for the same bytes. */
export function uploadChunk(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; chunk: Uint8Array },
): MethodResult {
  const canister = findOwnStore(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  if (argument.chunk.length > CHUNK_STORE_CHUNK_BYTES_MAX) {
    return storeError(
      `Wasm chunk size ${argument.chunk.length} exceeds the maximum chunk size of ${CHUNK_STORE_CHUNK_BYTES_MAX}`,
    );
  }
  const hash = sha256(argument.chunk);
  if (context.state.storedChunk(canister.id, hash) === undefined) {
    if (canister.storedChunks >= CHUNK_STORE_CHUNKS_MAX) {
      return storeError(
        `Wasm chunk store has reached maximum capacity of ${CHUNK_STORE_CHUNKS_MAX} chunks`,
      );
    }
    context.state.putStoredChunk(canister.id, hash, argument.chunk);
    canister.storedChunks++;
    context.state.putCanister(canister);
  }
  return replyWith("uploadedChunk", { hash });
}

export function storedChunks(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findOwnStore(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  return replyWith(
    "storedChunks",
    context.state.storedChunkHashes(canister.id).map((hash) => ({ hash })),
  );
}

export function clearChunkStore(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findOwnStore(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  context.state.clearStoredChunks(canister.id);
  canister.storedChunks = 0;
  context.state.putCanister(canister);
  return { kind: "reply", bytes: DIDL_EMPTY };
}

/** install_chunked_code: puts stored chunks together and installs them. */
export function installChunkedCode(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    mode: GivenMode;
    target_canister: IdlPrincipal;
    store_canister: [] | [IdlPrincipal];
    chunk_hashes_list: { hash: Uint8Array }[];
    wasm_module_hash: Uint8Array;
    arg: Uint8Array;
  },
): MethodResult {
  const target = findControlled(context, call, argument.target_canister);
  if (isReject(target)) return target;
  const store = findOwnStore(context, call, argument.store_canister[0] ?? argument.target_canister);
  if (isReject(store)) return store;
  if (argument.chunk_hashes_list.length > CHUNK_STORE_CHUNKS_MAX) {
    return storeError(
      `at most ${CHUNK_STORE_CHUNKS_MAX} chunks make a module, ${argument.chunk_hashes_list.length} were named`,
    );
  }
  const parts: Uint8Array[] = [];
  for (const { hash } of argument.chunk_hashes_list) {
    const part = hash.length === 32 ? context.state.storedChunk(store.id, hash) : undefined;
    if (part === undefined) return storeError(`Wasm chunk hash ${hash.toHex()} not found`);
    parts.push(part);
  }
  const module = concatBytes(...parts);
  const hash = sha256(module);
  if (!equalBytes(hash, argument.wasm_module_hash)) {
    countModuleBytes(context, module.length);
    const expected = argument.wasm_module_hash.toHex();
    return storeError(`Wasm module hash ${hash.toHex()} does not match given hash ${expected}`);
  }
  return installModule(context, call, target, argument.mode, module, argument.arg);
}

/** A canister may use its own chunk store; its controllers may too. */
function findOwnStore(
  context: BlockContext,
  call: ManagementCall,
  id: IdlPrincipal,
): CanisterRecord | Reject {
  const canister = findCanister(context, id);
  if (isReject(canister) || equalBytes(canister.id, call.sender)) return canister;
  return findControlled(context, call, id);
}

function storeError(what: string): Reject {
  return reject(ErrorCode.contractViolation, `Error from Wasm chunk store: ${what}`);
}
