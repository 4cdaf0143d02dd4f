// Every protocol limit, declared once. Sources: the IC interface specification and its published
// resource limits; what is ours alone says so.

export const KIB = 1024;
export const MIB: number = 1024 * KIB;
export const GIB: number = 1024 * MIB;

export const WASM_PAGE_BYTES: number = 64 * KIB;
/** Unit of dirty tracking and of memory charges. */
export const OS_PAGE_BYTES: number = 4 * KIB;
/** Unit in which canister memories are stored and hashed (ours). */
export const CHUNK_BYTES: number = 16 * KIB;

export const PRINCIPAL_BYTES_MAX = 29;
export const HTTP_BODY_BYTES_MAX: number = 5 * MIB;
export const INGRESS_BYTES_MAX: number = 2 * MIB;
export const INGRESS_TTL_NS = 300_000_000_000n;
/** How far a sender's clock may run ahead. */
export const INGRESS_DRIFT_NS = 30_000_000_000n;
export const NONCE_BYTES_MAX = 32;
export const DELEGATIONS_MAX = 20;
export const DELEGATION_TARGETS_MAX = 1000;
export const READ_STATE_PATHS_MAX = 1000;
export const READ_STATE_LABELS_MAX = 127;

export const MODULE_BYTES_MAX: number = 100 * MIB;
export const CODE_SECTION_BYTES_MAX: number = 10 * MIB;
export const FUNCTIONS_MAX = 50_000;
export const GLOBALS_MAX = 1_000;
export const ICP_CUSTOM_SECTIONS_MAX = 16;
export const ICP_CUSTOM_SECTIONS_BYTES_MAX: number = MIB;
export const EXPORTED_METHODS_MAX = 1_000;
export const EXPORTED_METHOD_NAME_BYTES_MAX = 20_000;
export const FUNCTION_BODY_INSTRUCTIONS_MAX = 1_000_000;

export const WASM32_MEMORY_BYTES_MAX: number = 4 * GIB;
export const WASM64_MEMORY_BYTES_MAX: number = 6 * GIB;
export const STABLE_MEMORY_BYTES_MAX: number = 500 * GIB;
/** Heap that one message may change (ours): undo, commit and storing each hold a copy. */
export const HEAP_DIRTY_BYTES_MAX: number = 2 * GIB;
export const STABLE_DIRTY_BYTES_MAX: number = 2 * GIB;

export const UPDATE_INSTRUCTIONS_MAX = 40_000_000_000n;
export const INSTALL_INSTRUCTIONS_MAX = 300_000_000_000n;
export const QUERY_INSTRUCTIONS_MAX = 5_000_000_000n;
export const INSPECT_INSTRUCTIONS_MAX = 200_000_000n;

export const MESSAGE_PAYLOAD_BYTES_MAX: number = 2 * MIB;
export const LOCAL_PAYLOAD_BYTES_MAX: number = 10 * MIB;
export const REPLY_BYTES_MAX: number = 2 * MIB;
export const QUERY_REPLY_BYTES_MAX: number = 3 * MIB;
export const CALL_METHOD_NAME_BYTES_MAX = 20_000;
export const QUEUE_MESSAGES_MAX = 500;
export const CERTIFIED_DATA_BYTES_MAX = 32;
export const CONTROLLERS_MAX = 10;
export const VIEWERS_MAX = 10;
export const ENVIRONMENT_VARIABLES_MAX = 20;
export const ENVIRONMENT_VARIABLE_BYTES_MAX = 128;
export const BEST_EFFORT_TIMEOUT_SECONDS_MAX = 300;
export const CHUNK_STORE_CHUNK_BYTES_MAX: number = MIB;
export const CHUNK_STORE_CHUNKS_MAX = 100;
export const SNAPSHOTS_MAX = 10;
export const CANISTER_LOG_BYTES_DEFAULT: number = 4 * KIB;
export const CANISTER_HISTORY_CHANGES_MAX = 20;
export const REJECT_TEXT_BYTES_MAX: number = 8 * KIB;
