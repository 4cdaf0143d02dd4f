// Why a canister module is refused. The texts reach reject messages, so they are made here and
// never taken from the Wasm engine, which words them differently between versions.
import { GyrotronError } from "gyrotron/base";

/** Codes and fields of a refusal; `offset` counts bytes of the uncompressed module. */
export type WasmErrorInfo =
  | { code: "canister/wasm-malformed"; what: string; offset: number }
  | { code: "canister/wasm-unsupported"; what: string; offset: number }
  | { code: "canister/wasm-compression"; what: string }
  | { code: "canister/wasm-limit"; what: string }
  | { code: "canister/wasm-imports"; what: string }
  | { code: "canister/wasm-exports"; what: string }
  | { code: "canister/wasm-signature"; what: string }
  | { code: "canister/wasm-custom-section"; what: string }
  | { code: "canister/wasm-rejected"; what: string }
  | { code: "canister/wasm-too-complex" };

/** A module that cannot be installed; `message` follows "Canister's Wasm module is not valid: ". */
export class WasmError extends GyrotronError<WasmErrorInfo> {
  constructor(info: WasmErrorInfo, options?: ErrorOptions) {
    super(info, options);
    this.message = describe(info);
  }
}

function describe(info: WasmErrorInfo): string {
  switch (info.code) {
    case "canister/wasm-malformed":
      return `Failed to decode wasm module: ${info.what} (at offset ${info.offset})`;
    case "canister/wasm-unsupported":
      return `Wasm module uses an unsupported feature: ${info.what} (at offset ${info.offset})`;
    case "canister/wasm-compression":
      return `Failed to decode wasm module: ${info.what}`;
    case "canister/wasm-imports":
      return `Wasm module has an invalid import section. ${info.what}`;
    case "canister/wasm-exports":
      return `Wasm module has an invalid export section. ${info.what}`;
    case "canister/wasm-signature":
      return `Wasm module has an invalid function signature. ${info.what}`;
    case "canister/wasm-custom-section":
      return `Wasm module has an invalid custom section. ${info.what}`;
    case "canister/wasm-too-complex":
      return "Wasm module exceeds the limits of the execution engine after instrumentation.";
    case "canister/wasm-limit":
    case "canister/wasm-rejected":
      return info.what;
  }
}
