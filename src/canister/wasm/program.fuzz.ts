// Random programs: instrumented, they leave the memory and end as the raw program does in which
// every float operation is followed by explicit canonicalisation. Run with a budget in seconds:
//   node --conditions=source src/canister/wasm/program.fuzz.ts 60

import { deepEqual } from "node:assert/strict";
import wabtInit from "wabt";
import { createRandom } from "./module.fuzz.ts";
import { prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost } from "./test-host.ts";

const wabt = await wabtInit();

type Type = "i32" | "i64" | "f32" | "f64" | "v128";
const TYPES: readonly Type[] = ["i32", "i64", "f32", "f64", "v128"];
const PARAMS: readonly Type[] = ["i32", "f64"];
const LOCALS: readonly Type[] = [...PARAMS, ...TYPES, ...TYPES];
/** Locals that arithmetic alone writes, so that canonicalisation may move to where they are read. */
const SUMS: readonly Type[] = ["f32", "f64", "v128"];
/** First of the locals that count rounds of loops, one for each depth. */
const COUNTERS = LOCALS.length + SUMS.length;
const DEPTH_MAX = 4;

/** Writes one random program as text; `explicit` adds the canonicalisation that must be implied. */
class Writer {
  readonly #random: (below: number) => number;
  readonly #explicit: boolean;
  readonly #address: "i32" | "i64";
  #functionCount = 0;

  constructor(seed: number, explicit: boolean) {
    this.#random = createRandom(seed);
    this.#explicit = explicit;
    this.#address = this.#random(2) === 0 ? "i32" : "i64";
  }

  module(): string {
    const functions: string[] = [];
    for (let i = 0; i < 4; i++) {
      functions.push(this.#function());
      this.#functionCount++;
    }
    const calls = functions.map(
      (_, i) => `(call $f${i} (i32.const ${this.#random(100)}) (f64.const ${i}.5))`,
    );
    const stores = calls.map((call, i) => `(f64.store (${this.#address}.const ${8 * i}) ${call})`);
    return `(module (memory (export "memory") ${this.#address === "i64" ? "i64" : ""} 1)
      (global $g (mut f64) (f64.const 1)) (type $t (func (param i32 f64) (result f64)))
      (table 4 funcref) (elem (i32.const 0) ${this.#random(2) === 0 ? "$f0 $f1" : "$f0"})
      (data (${this.#address}.const 4090) "\\01\\02\\f4\\7f\\05\\06\\f7\\ff\\00\\00\\a0\\7f")
      (func $c32 (param f32) (result f32) (select (local.get 0) (f32.const nan) (f32.eq (local.get 0) (local.get 0))))
      (func $c64 (param f64) (result f64) (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))
      (func $c32x4 (param v128) (result v128) (v128.bitselect (local.get 0) (v128.const i32x4 0x7fc00000 0x7fc00000 0x7fc00000 0x7fc00000) (f32x4.eq (local.get 0) (local.get 0))))
      (func $c64x2 (param v128) (result v128) (v128.bitselect (local.get 0) (v128.const i64x2 0x7ff8000000000000 0x7ff8000000000000) (f64x2.eq (local.get 0) (local.get 0))))
      ${functions.join("\n")} (func (export "canister_update a") ${stores.join(" ")}))`;
  }

  #function(): string {
    const index = this.#functionCount;
    const locals = LOCALS.slice(PARAMS.length).join(" ");
    const counters = `${"i32 ".repeat(DEPTH_MAX + 1)} ${this.#address}`;
    return `(func $f${index} (param ${PARAMS.join(" ")}) (result f64) (local ${locals} ${SUMS.join(" ")} ${counters})
      ${this.#statements(0)} ${this.#expression("f64", 3)})`;
  }

  #local(type: Type): number {
    return this.#pick(LOCALS.flatMap((of, index) => (of === type ? [index] : [])));
  }

  #statements(depth: number): string {
    return Array.from({ length: 1 + this.#random(4) }, () => this.#statement(depth)).join(" ");
  }

  #statement(depth: number): string {
    const type = this.#pick(TYPES);
    const kind = this.#random(depth < DEPTH_MAX ? 16 : 11);
    switch (kind - 6) {
      case -6:
      case -5:
        return this.#tightLoop();
      case -4:
      case -3:
        return this.#fields();
      case -2:
      case -1:
        return this.#accumulate();
      case 0:
      case 1:
        return `(local.set ${this.#local(type)} ${this.#expression(type, 3)})`;
      case 2:
      case 3:
        return this.#store(type);
      case 4:
        return `(global.set $g ${this.#expression("f64", 2)})`;
      case 5:
        return `(block ${this.#statements(depth + 1)} (br_if 0 ${this.#condition()}) ${this.#statements(depth + 1)})`;
      case 6:
        return `(if ${this.#condition()} (then ${this.#statements(depth + 1)}) (else ${this.#statements(depth + 1)}))`;
      case 7:
        return `(block (block (br_table 0 1 0 ${this.#expression("i32", 1)})) ${this.#statements(depth + 1)})`;
      case 8:
        return `(if ${this.#condition()} (then (return ${this.#expression("f64", 2)})))`;
      default: {
        const counter = COUNTERS + depth;
        return `(local.set ${counter} (i32.const ${1 + this.#random(6)}))
          (loop ${this.#statements(depth + 1)} (br_if 0 (local.tee ${counter} (i32.sub (local.get ${counter}) (i32.const 1)))))`;
      }
    }
  }

  /** A loop short enough to be unrolled, with every kind of branch. */
  #tightLoop(): string {
    const counter = COUNTERS + DEPTH_MAX;
    const type = this.#pick(TYPES);
    const more = `(i32.gt_s (local.get ${counter}) (i32.const 0))`;
    const middle = this.#pick([
      () => `(block (br_table 0 2 0 (i32.and (local.get 0) (i32.const 7))))`,
      () => `(if (i32.and (local.get 0) (i32.const 1)) (then (br_if 1 ${more})))`,
      () => `(br_if 1 (i32.eq (i32.and (local.get 0) (i32.const 15)) (i32.const 3)))`,
      () => `(if (f64.gt (local.get 1) (f64.const 1e9)) (then (return (local.get 1))))`,
      () => `(local.set 0 (i32.xor (local.get 0) (local.get ${counter})))`,
    ])();
    return `(block (local.set ${counter} (i32.const ${1 + this.#random(11)}))
      (loop (local.set ${counter} (i32.sub (local.get ${counter}) (i32.const 1)))
        (${type}.store ${this.#pointer0()} ${this.#expression(type, 1)}) ${middle}
        ${this.#random(2) === 0 ? this.#accumulate() : ""} (br_if 0 ${more})))`;
  }

  /** Stores over one base, with other code between them. */
  #fields(): string {
    const base = COUNTERS + DEPTH_MAX + 1;
    // Now and then close to the end of the memory, so that one of the stores is out of bounds.
    const last = this.#random(30) === 0 ? 0xff00 : 0;
    const parts = Array.from({ length: 2 + this.#random(5) }, () => {
      const type = this.#pick(TYPES);
      const offset = this.#random(8) === 0 ? this.#random(600) : this.#random(60);
      const store = `(${type}.store offset=${offset} (local.get ${base}) ${this.#expression(type, 1)})`;
      switch (this.#random(8)) {
        case 0:
          return `(local.set ${base} (${this.#address}.add (local.get ${base}) (${this.#address}.const ${this.#random(64)}))) ${store}`;
        case 1:
          return `${store} (br_if 0 ${this.#condition()})`;
        case 2:
          return `(local.set 0 (i32.div_u (i32.const 9) (i32.or (i32.const ${this.#random(2)}) (local.get 0)))) ${store}`;
        default:
          return store;
      }
    });
    const start = `(i32.add ${this.#expression("i32", 0)} (i32.const 0))`;
    const masked = `(i32.or (i32.and ${start} (i32.const 0x1fff)) (i32.const ${last}))`;
    const pointer = this.#address === "i64" ? `(i64.extend_i32_u ${masked})` : masked;
    return `(block (local.set ${base} ${pointer}) ${parts.join(" ")})`;
  }

  #accumulate(): string {
    const at = this.#random(SUMS.length);
    const type = SUMS[at]!;
    const local = LOCALS.length + at;
    const operation = type === "v128" ? "f32x4.add" : `${type}.add`;
    const sum = `(${operation} (local.get ${local}) ${this.#expression(type, 2)})`;
    const shape = type === "v128" ? "32x4" : type.slice(1);
    return `(local.set ${local} ${this.#explicit ? `(call $c${shape} ${sum})` : sum})`;
  }

  #store(type: Type): string {
    const offset = this.#random(3) === 0 ? ` offset=${this.#random(9000)}` : "";
    const align = type !== "v128" && this.#random(3) === 0 ? " align=1" : "";
    const names: Record<Type, readonly string[]> = {
      i32: ["i32.store", "i32.store8", "i32.store16"],
      i64: ["i64.store", "i64.store8", "i64.store16", "i64.store32"],
      f32: ["f32.store"],
      f64: ["f64.store"],
      v128: ["v128.store"],
    };
    return `(${this.#pick(names[type])}${offset}${align} ${this.#pointer()} ${this.#expression(type, 3)})`;
  }

  #pointer(): string {
    const masked = `(i32.and ${this.#expression("i32", 1)} (i32.const ${this.#random(40) === 0 ? 0x1ffff : 0x3fff}))`;
    return this.#address === "i64" ? `(i64.extend_i32_u ${masked})` : masked;
  }

  #condition(): string {
    return this.#random(3) === 0
      ? `(f64.lt ${this.#expression("f64", 2)} ${this.#expression("f64", 2)})`
      : `(i32.and ${this.#expression("i32", 2)} (i32.const ${1 + this.#random(3)}))`;
  }

  #expression(type: Type, depth: number): string {
    if (depth === 0 || this.#random(4) === 0) return this.#leaf(type);
    const next = (of: Type): string => this.#expression(of, depth - 1);
    if (this.#random(8) === 0) {
      return `(if (result ${type}) ${this.#condition()} (then ${next(type)}) (else ${next(type)}))`;
    }
    if (this.#random(8) === 0) return `(local.tee ${this.#local(type)} ${next(type)})`;
    switch (type) {
      case "i32":
        return this.#pick([
          () =>
            `(i32.${this.#pick(["add", "sub", "mul", "xor", "rotl"])} ${next("i32")} ${next("i32")})`,
          () => `(i32.wrap_i64 ${next("i64")})`,
          () => `(i32.trunc_sat_f64_s ${next("f64")})`,
          () => `(i32.reinterpret_f32 ${next("f32")})`,
          () => `(f32.${this.#pick(["lt", "eq"])} ${next("f32")} ${next("f32")})`,
        ])();
      case "i64":
        return this.#pick([
          () =>
            `(i64.${this.#pick(["add", "sub", "mul", "and", "shr_u"])} ${next("i64")} ${next("i64")})`,
          () => `(i64.extend_i32_s ${next("i32")})`,
          () => `(i64.reinterpret_f64 ${next("f64")})`,
          () => `(i64x2.extract_lane 1 ${next("v128")})`,
        ])();
      case "f32":
        return this.#float(type, next);
      case "f64":
        return this.#functionCount > 0 && this.#random(6) === 0
          ? `(call $f${this.#random(this.#functionCount)} ${next("i32")} ${next("f64")})`
          : this.#float(type, next);
      case "v128":
        return this.#vector(next);
    }
  }

  #float(type: "f32" | "f64", next: (of: Type) => string): string {
    const canonical = (text: string): string =>
      this.#explicit ? `(call $c${type.slice(1)} ${text})` : text;
    return this.#pick([
      () =>
        canonical(
          `(${type}.${this.#pick(["add", "sub", "mul", "div", "min", "max"])} ${next(type)} ${next(type)})`,
        ),
      () => canonical(`(${type}.${this.#pick(["sqrt", "ceil", "nearest"])} ${next(type)})`),
      () =>
        canonical(
          type === "f32" ? `(f32.demote_f64 ${next("f64")})` : `(f64.promote_f32 ${next("f32")})`,
        ),
      () => `(${type}.${this.#pick(["neg", "abs"])} ${next(type)})`,
      () => `(${type}.copysign ${next(type)} ${next(type)})`,
      () =>
        type === "f32"
          ? `(f32.reinterpret_i32 ${next("i32")})`
          : `(f64.reinterpret_i64 ${next("i64")})`,
    ])();
  }

  #vector(next: (of: Type) => string): string {
    const canonical = (shape: string, text: string): string =>
      this.#explicit ? `(call $c${shape} ${text})` : text;
    return this.#pick([
      () =>
        canonical(
          "32x4",
          `(f32x4.${this.#pick(["add", "mul", "div", "min"])} ${next("v128")} ${next("v128")})`,
        ),
      () =>
        canonical(
          "64x2",
          `(f64x2.${this.#pick(["sub", "mul", "max"])} ${next("v128")} ${next("v128")})`,
        ),
      () => canonical("32x4", `(f32x4.sqrt ${next("v128")})`),
      () => `(i32x4.add ${next("v128")} ${next("v128")})`,
      () => `(f32x4.splat ${next("f32")})`,
      () => `(f64x2.splat ${next("f64")})`,
    ])();
  }

  #leaf(type: Type): string {
    switch (this.#random(4)) {
      case 0:
        return `(local.get ${this.#local(type)})`;
      case 3: {
        const at = SUMS.indexOf(type);
        return `(local.get ${at < 0 ? this.#local(type) : LOCALS.length + at})`;
      }
      case 1: {
        return type === "v128"
          ? `(v128.load ${this.#pointer0()})`
          : `(${type}.load ${this.#pointer0()})`;
      }
      default:
        if (type === "v128")
          return `(v128.const i32x4 ${this.#random(9)} 0 ${this.#random(2 ** 31)} 1)`;
        if (type[0] === "i") return `(${type}.const ${this.#random(2 ** 31)})`;
        return `(${type}.const ${this.#pick(["0", "-0", "1.5", "-3", "inf", "1e30", "nan", "nan:0x1234"])})`;
    }
  }

  #pointer0(): string {
    return `(${this.#address}.const ${4084 + this.#random(16)})`;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random(items.length)]!;
  }
}

/** Runs program `seed` both ways. @throws AssertionError if they differ: that is a finding */
export function compareProgram(seed: number): void {
  const compile = (explicit: boolean): Uint8Array =>
    wabt
      .parseWat(`${seed}.wat`, new Writer(seed, explicit).module(), { memory64: true })
      .toBinary({}).buffer;
  const raw = new WebAssembly.Instance(new WebAssembly.Module(compile(true).slice()), {}).exports;
  const memory = raw["memory"] as WebAssembly.Memory;
  const host = new TestHost(prepareModule(compile(false)));
  for (let round = 0; round < 2; round++) {
    const expected = ending(raw["canister_update a"] as () => void);
    const actual = ending(() => host.call("canister_update a"));
    deepEqual(actual, expected, `ending of program ${seed}`);
    // What a trap leaves behind is undone, and a merged check may trap before some of the stores.
    if (expected !== "returned") return;
    const [left, right] = [new Uint8Array(host.heap.buffer), new Uint8Array(memory.buffer)];
    deepEqual(Buffer.compare(left, right), 0, `memory of program ${seed}`);
  }
}

function ending(run: () => unknown): string {
  try {
    run();
    return "returned";
  } catch (error) {
    if (error instanceof HostStop && error.kind === "heap") return "memory access out of bounds";
    if (error instanceof WebAssembly.RuntimeError) return error.message;
    throw error;
  }
}

if (import.meta.main) {
  const deadlineMs = performance.now() + 1000 * Number(process.argv[2] ?? 10);
  let seed = Number(process.argv[3] ?? 1);
  const first = seed;
  for (; performance.now() < deadlineMs; seed++) compareProgram(seed);
  console.log(`programs ${first} to ${seed - 1}, no finding`);
}
