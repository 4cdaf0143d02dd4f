// The code section under construction, with the section of branch hints, which counts bytes in it.
import { VALUE_TYPE_BYTES, type ValueType } from "./module.ts";
import { WasmWriter } from "./writer.ts";

/** Locals that follow each other and have one type. */
export interface LocalGroup {
  readonly type: ValueType;
  count: number;
}

/** The locals from `start` on, in groups. */
export function localGroups(locals: readonly ValueType[], start: number): LocalGroup[] {
  const groups: LocalGroup[] = [];
  for (let index = start; index < locals.length; index++) {
    const type = locals[index]!;
    const last = groups[groups.length - 1];
    if (last?.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  return groups;
}

/** Collects bodies in the order of their functions. */
export class CodeSection {
  readonly #bodies: WasmWriter;
  readonly #hints: WasmWriter = new WasmWriter();
  readonly #locals: WasmWriter = new WasmWriter();
  /** Index of the function whose body comes next. */
  #next: number;
  #count = 0;
  #hintedCount = 0;

  /** A section for functions from index `first` on, of about `capacity` bytes. */
  constructor(first: number, capacity: number) {
    this.#next = first;
    this.#bodies = new WasmWriter(capacity);
  }

  /** Adds a body; `hints` are offsets in `code` of branches that are seldom taken. */
  add(groups: readonly LocalGroup[], code: WasmWriter, hints: readonly number[]): void {
    const locals = this.#locals;
    locals.clear();
    locals.u32(groups.length);
    for (const { type, count } of groups) {
      locals.u32(count);
      locals.u8(VALUE_TYPE_BYTES[type]);
    }
    this.#bodies.u32(locals.length + code.length);
    this.#bodies.raw(locals.view());
    this.#bodies.raw(code.view());
    this.#addHints(hints, locals.length);
    this.#next++;
    this.#count++;
  }

  /** Content of the section of bodies, in parts. */
  bodies(): WasmWriter[] {
    const count = new WasmWriter();
    count.u32(this.#count);
    return [count, this.#bodies];
  }

  /** Content of the section of hints, in parts. */
  hints(): WasmWriter[] {
    const head = new WasmWriter();
    head.name("metadata.code.branch_hint");
    head.u32(this.#hintedCount);
    return [head, this.#hints];
  }

  #addHints(hints: readonly number[], shift: number): void {
    if (hints.length === 0) return;
    this.#hintedCount++;
    this.#hints.u32(this.#next);
    this.#hints.u32(hints.length);
    for (const offset of hints) {
      this.#hints.u32(offset + shift);
      this.#hints.u8(1);
      this.#hints.u8(0);
    }
  }
}
