// A state machine of one counter, in the place of the real replica: each call adds one and is answered
// with the sum. It keeps the counter in memory, as the real one keeps canister memories, so a missed
// refresh shows. Workers load this file through `createNodeReplica`.

import { decodeWith, encodeWith, readU64BigEndian, u64BigEndian } from "gyrotron/base";
import {
  type Block,
  type ExecutedBlock,
  ingressCodec,
  ingressKey,
  type QueryResult,
  type Replica,
  systemKey,
} from "gyrotron/replica";
import type { StateView, StateWrite } from "gyrotron/store";

/** The canister that calls are for. */
export const COUNTER_ID: Uint8Array = Uint8Array.of(128, 0, 0, 0, 0, 0, 0, 0, 1, 1);
export const CALLER: Uint8Array = Uint8Array.of(4);

/** A call that the counter understands: the request id. The rest of a transaction is ignored. */
export const REQUEST_ID_BYTES = 32;

export async function createNodeReplica(): Promise<Replica> {
  return createCounterReplica();
}

export function createCounterReplica(): Replica {
  return new CounterReplica();
}

/** The sum in the reply to a call or query. */
export function sumOf(reply: Uint8Array): bigint {
  return readU64BigEndian(reply);
}

class CounterReplica implements Replica {
  #cached: bigint | undefined;

  genesis(): StateWrite[] {
    return [{ key: systemKey, value: u64BigEndian(0n) }];
  }

  execute(view: StateView, block: Block): ExecutedBlock {
    const writes = new Map<string, StateWrite>();
    for (const transaction of block.transactions) {
      const key = ingressKey(transaction.slice(0, REQUEST_ID_BYTES));
      if (view.get(key) !== undefined || writes.has(key.toHex())) continue;
      this.#cached = this.#count(view) + 1n;
      const record = {
        status: { kind: "replied", reply: u64BigEndian(this.#cached) } as const,
        sender: CALLER,
        canisterId: COUNTER_ID,
        pruneAtNs: block.timeNs,
      };
      writes.set(key.toHex(), { key, value: encodeWith(ingressCodec, record) });
    }
    const system = { key: systemKey, value: u64BigEndian(this.#count(view)) };
    const console = [...writes.values()].map(() => ({
      canisterId: COUNTER_ID,
      timeNs: block.timeNs,
      text: "counted",
    }));
    return {
      writes: [system, ...writes.values()],
      console,
      receipts: [],
      moreWork: false,
      wakeupNs: undefined,
    };
  }

  query(view: StateView): QueryResult & { console: [] } {
    return { kind: "replied", reply: u64BigEndian(this.#count(view)), console: [] };
  }

  precheck(
    _view: StateView,
    _timeNs: bigint,
    content: { methodName: string },
  ): QueryResult | undefined {
    if (content.methodName !== "refuse") return undefined;
    return { kind: "rejected", rejectCode: 4, message: "refused", errorCode: "IC0406" };
  }

  wakeup(): undefined {
    return undefined;
  }

  refresh(_view: StateView, keys: readonly Uint8Array[]): void {
    if (keys.some((key) => key[0] === systemKey[0])) this.#cached = undefined;
  }

  #count(view: StateView): bigint {
    this.#cached ??= readU64BigEndian(view.get(systemKey)!);
    return this.#cached;
  }
}

/** The sum that a stored answer holds. */
export function sumOfRecord(value: Uint8Array): bigint | undefined {
  const { status } = decodeWith(ingressCodec, value);
  return status.kind === "replied" ? sumOf(status.reply) : undefined;
}
