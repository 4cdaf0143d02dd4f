// Canister modules: parsing, validation and instrumentation.
export { WasmError, type WasmErrorInfo } from "./error.ts";
export { type AddressType, ic0Names, type Ic0Signature, ic0Signature } from "./ic0-signatures.ts";
export type { MetadataSection } from "./canister-rules.ts";
export { DIRTY_MAP_OFFSET } from "./function-emitter.ts";
export { GLOBAL_SLOT_BYTES, RUNTIME_MODULE, SIDE_PAGES_MIN } from "./instrument-module.ts";
export {
  type PreparedData,
  type PreparedGlobal,
  type PreparedModule,
  prepareModule,
} from "./prepare-module.ts";
