// The messages between the compiler's parent and its child process. Owns no behaviour.

/** Asks the child to compile one program. */
export interface MotokoJob {
  /** Absolute path of the main file. */
  readonly main: string;
  /** Of the compiler. */
  readonly flags: readonly string[];
  /** Of the main file, if it is not the disk's. */
  readonly text: string | undefined;
}

/** A message of the compiler about a file of the disk. Lines and columns count from 1. */
export interface MotokoMessage {
  readonly path: string;
  readonly severity: "error" | "warning" | "note";
  readonly line: number;
  readonly column: number;
  readonly code: string;
  readonly message: string;
}

/** A file that went into a module. */
export interface SourceFile {
  /** Absolute path. */
  readonly path: string;
  /** Hex. */
  readonly sha256: string;
}

/** The child's only answer. */
export type MotokoAnswer =
  | {
      readonly kind: "compiled";
      readonly wasm: Uint8Array;
      readonly candid: string;
      /** Absent if the actor has no stable variables' signature. */
      readonly stableTypes: string | undefined;
      readonly messages: readonly MotokoMessage[];
      readonly sources: readonly SourceFile[];
    }
  | { readonly kind: "rejected"; readonly messages: readonly MotokoMessage[] }
  | { readonly kind: "unreadable"; readonly path: string; readonly reason: string };
