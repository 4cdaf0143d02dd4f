// Nodes of a resolved graph by their op.

import type { Node, OpKind } from "gyrotron/tensor";

/** The nodes of one kind. */
export type NodeOf<K extends OpKind> =
  Node<number> extends infer N
    ? N extends { readonly op: infer O }
      ? K extends O
        ? N
        : never
      : never
    : never;
