// Operational errors: the code and its fields are the public API, the message is derived from them.

/** What every operational error carries: a stable code `area/kebab-name` and its fields. */
export interface ErrorInfo {
  readonly code: string;
}

/** Base of all operational errors; each area has one subclass over a closed union of `info`. */
export abstract class GyrotronError<I extends ErrorInfo> extends Error {
  readonly info: I;

  constructor(info: I, options?: ErrorOptions) {
    super(describeInfo(info), options);
    this.name = new.target.name;
    this.info = info;
  }
}

/** A total decoder's only failure: what was wrong and at which byte of the input. */
export type DecodeErrorInfo = { code: `${string}/decode`; what: string; offset: number };

/** Untrusted bytes that are not a valid encoding. */
export class DecodeError extends GyrotronError<DecodeErrorInfo> {}

function describeInfo(info: ErrorInfo): string {
  const fields = Object.entries(info).filter(([name]) => name !== "code");
  const text = fields.map(([name, value]) => `${name}: ${formatField(value)}`).join(", ");
  return text === "" ? info.code : `${info.code} (${text})`;
}

function formatField(value: unknown): string {
  if (value instanceof Uint8Array) return `0x${value.toHex()}`;
  if (Array.isArray(value)) return value.map(formatField).join(" ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
