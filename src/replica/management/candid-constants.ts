// Candid encodings that need no encoder.

/** `()`. */
export const DIDL_EMPTY: Uint8Array = Uint8Array.of(0x44, 0x49, 0x44, 0x4c, 0x00, 0x00);
