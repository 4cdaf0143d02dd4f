// Operational errors of the crypto area. A signature that does not verify is not an error but `false`.

import { GyrotronError } from "gyrotron/base";

/** What can be wrong with a key, a principal or an option given to this area. */
export type CryptoErrorInfo =
  | { code: "crypto/principal"; reason: string; text?: string }
  | { code: "crypto/public-key"; reason: string }
  | { code: "crypto/secret-key"; reason: string }
  | { code: "crypto/value"; reason: string };

/** A malformed principal, key or value. */
export class CryptoError extends GyrotronError<CryptoErrorInfo> {}
