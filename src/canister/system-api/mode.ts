// Execution modes as bits, so that the rule of a system call is one mask, and their names in texts.

import type { ExecutionMode } from "../contract.ts";

/** The bit of each mode. */
export const MODE_BIT: Readonly<Record<ExecutionMode, number>> = {
  start: 1 << 0,
  init: 1 << 1,
  preUpgrade: 1 << 2,
  postUpgrade: 1 << 3,
  update: 1 << 4,
  replicatedQuery: 1 << 5,
  query: 1 << 6,
  compositeQuery: 1 << 7,
  replyCallback: 1 << 8,
  rejectCallback: 1 << 9,
  compositeReplyCallback: 1 << 10,
  compositeRejectCallback: 1 << 11,
  cleanup: 1 << 12,
  compositeCleanup: 1 << 13,
  heartbeat: 1 << 14,
  globalTimer: 1 << 15,
  onLowWasmMemory: 1 << 16,
  inspectMessage: 1 << 17,
  httpTransform: 1 << 18,
};

/** Names as they stand in `cannot be executed in <name> mode`. */
export const MODE_NAME: Readonly<Record<ExecutionMode, string>> = {
  start: "start",
  init: "init",
  preUpgrade: "pre upgrade",
  postUpgrade: "init",
  update: "update",
  replicatedQuery: "replicated query",
  query: "non replicated query",
  compositeQuery: "composite query",
  replyCallback: "reply callback",
  rejectCallback: "reject callback",
  compositeReplyCallback: "composite reply callback",
  compositeRejectCallback: "composite reject callback",
  cleanup: "cleanup",
  compositeCleanup: "composite cleanup",
  heartbeat: "heartbeat",
  globalTimer: "global timer",
  onLowWasmMemory: "on low Wasm memory",
  inspectMessage: "inspect message",
  httpTransform: "non replicated query",
};

const GROUPS: Readonly<Record<string, readonly ExecutionMode[]>> = {
  s: ["start"],
  I: ["init", "postUpgrade"],
  G: ["preUpgrade"],
  U: ["update"],
  RQ: ["replicatedQuery"],
  NRQ: ["query"],
  TQ: ["httpTransform"],
  CQ: ["compositeQuery"],
  Ry: ["replyCallback"],
  Rt: ["rejectCallback"],
  CRy: ["compositeReplyCallback"],
  CRt: ["compositeRejectCallback"],
  C: ["cleanup"],
  CC: ["compositeCleanup"],
  F: ["inspectMessage"],
  T: ["heartbeat", "globalTimer", "onLowWasmMemory"],
};

/** Mask of a list of the IC specification's letters; `*` is every mode but start. */
export function modeMask(letters: string): number {
  let mask = 0;
  for (const letter of letters.split(" ")) {
    if (letter === "*") mask |= ALL_MODES & ~MODE_BIT.start;
    else for (const mode of GROUPS[letter] ?? []) mask |= MODE_BIT[mode];
  }
  return mask;
}

const ALL_MODES = (1 << 19) - 1;

/** Modes of composite queries, in which nothing is charged and no cycles move. */
export const COMPOSITE_MODES: number =
  MODE_BIT.compositeQuery |
  MODE_BIT.compositeReplyCallback |
  MODE_BIT.compositeRejectCallback |
  MODE_BIT.compositeCleanup;

/** Modes that run on one node only, whose results are not part of state. */
export const LOCAL_MODES: number =
  COMPOSITE_MODES | MODE_BIT.query | MODE_BIT.httpTransform | MODE_BIT.inspectMessage;

/** Modes of installing and upgrading code. */
export const INSTALL_MODES: number =
  MODE_BIT.start | MODE_BIT.init | MODE_BIT.preUpgrade | MODE_BIT.postUpgrade;
