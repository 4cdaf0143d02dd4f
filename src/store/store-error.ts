// Operational errors of every store: what is wrong with the folder or the disk, and where.

import { GyrotronError } from "gyrotron/base";

/** What can go wrong between a node and its data folder. */
export type StoreErrorInfo =
  /** Written by a release with another data format. */
  | { code: "store/other-version"; path: string; found: string; expected: string }
  /** Not what this program wrote: restore a backup or start with an empty folder. */
  | { code: "store/damaged"; path: string; what: string }
  /** Another process has the folder open. */
  | { code: "store/in-use"; path: string; holder: string }
  /** The folder cannot be written: permissions or a read-only disk. */
  | { code: "store/not-writable"; path: string; what: string }
  | { code: "store/disk-full"; path: string }
  /** Any other failure that the operating system reported. */
  | { code: "store/failed"; path: string; what: string };

/** A store that cannot be opened, read or written. */
export class StoreError extends GyrotronError<StoreErrorInfo> {}
