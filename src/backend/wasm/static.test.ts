// Floating point stands only in functions of the kernels that say why each result is exact or correctly
// rounded, shown on the compiled code. The argument listed here is the short form; the comment at the head of
// each file has the proof. Which instructions may occur at all is in ../backend.test.ts.

import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";

const FEATURES = { simd: true, threads: true, bulk_memory: true, sat_float_to_int: true };

const FLOAT = /\b(f32x4|f64x2|f32|f64)\.|_f(32|64)/;

/** Functions with float instructions, by file, with the reason why their bits are those of the definition. */
const ALLOWED: Readonly<Record<string, { why: string; functions: readonly string[] }>> = {
  attention: {
    why: "integers below 2^53 and powers of two in binary64; one division that cannot meet a middle of two f32",
    functions: [
      ...["attendHead", "integerQuotient", "integerQuotients", "rotateSlice"],
      ...["scores", "weighted"],
    ],
  },
  block: {
    why: "GELU as in graph-function, a comparison that is integers'",
    functions: ["geluRows"],
  },
  "graph-attention": {
    why: "as attention; a share is an integer of 18 bits and a half in binary32",
    functions: ["divide", "scoreHeads", "shareRow", "weighHeads"],
  },
  "graph-elementwise": {
    why: "single operations of IEEE 754; -0 becomes +0; comparisons and minima round nothing",
    functions: ["binaryRange", "convertRange", "integerRange", "simpleUnaryRange"],
  },
  "graph-function": {
    why: "an f32 by an integer of 29 bits by powers of two in binary64, rounded once; quotients checked as integers",
    functions: ["functionRange", "logOf"],
  },
  "graph-matmul": {
    why: "sums below 2^53 by powers of two in binary64, rounded once",
    functions: ["fromGridRange", "matmulUnit", "rowByFour", "rowsByTwo", "toGridRange"],
  },
  "graph-random": {
    why: "a quotient of an f32 by 17 bits, rounded once; products below 2^53 and their floor",
    functions: ["dropoutRange", "weightsOf"],
  },
  "graph-row": {
    why: "integers by powers of two in binary64, rounded once; single operations of binary32; maxima",
    functions: [
      ...["argmaxOf", "crossEntropyRange", "dequantizeRange", "largestOf", "logSoftmaxRange"],
      ...["powersOf", "quantizeColumnsRange", "reduceMaxRange", "softmaxRange"],
    ],
  },
  "graph-sum": {
    why: "mantissas of 24 bits and their sums below 2^53 in binary64; quotients far from any middle",
    functions: ["gridSum", "reduceRange", "roundQuotient", "sumListed"],
  },
  "graph-turn": {
    why: "products by powers of two, as in row",
    functions: ["turnColumn", "turnEight"],
  },
  index: {
    why: "section 9 one by one, products of 48 bits in binary64; comparisons",
    functions: ["argmaxRows", "siluRows"],
  },
  "level-row": {
    why: "as tile",
    functions: ["levelRowByFour"],
  },
  norm: {
    why: "products by powers of two; two exact products of 24 bits and one sum; integers below 2^53 in binary64",
    functions: ["centre", "layerNormRow", "moments", "quantizeMoments", "rmsNormRow", "scale"],
  },
  row: {
    why: "products by powers of two; integers below 2^53 in binary64; single operations of binary32",
    functions: ["addRow", "gateRange", "multiplyRow", "quantizeRow"],
  },
  spill: {
    why: "integers below 2^53 and comparisons",
    functions: ["findSpills", "fitting", "sumSquares"],
  },
  tile: {
    why: "sums below 2^53 by powers of two in binary64, rounded once",
    functions: ["rowByFour", "rowsByTwo"],
  },
};

test("floats stand only in functions that say why", async () => {
  const found = findFloatFunctions(await kernelText());
  const listed = Object.entries(ALLOWED).flatMap(([file, { functions }]) =>
    functions.map((name) => `${file}/${name}`),
  );
  deepEqual(found, listed.toSorted());
});

test("the kernels import a memory and one function, which only the runner of records calls", async () => {
  const text = await kernelText();
  const imports = [...text.matchAll(/^ {2}\(import "([^"]+)" "([^"]+)" \((\w+)/gm)].map((found) =>
    found.slice(1).join(" "),
  );
  deepEqual(imports.toSorted(), ["env memory memory", "env native func"]);
  // Imported functions come first, and have no names.
  deepEqual(
    findFunctions(text, (line) => /\bcall 0\b/.test(line)),
    ["index/dispatch"],
  );
});

test("the search finds floats by their instructions", () => {
  const body = (instruction: string): string => `  (func $a/b.as/c (type 0)\n    ${instruction}\n`;
  for (const instruction of ["f64.add", "f32x4.mul", "i32.trunc_sat_f64_s", "f32.const 0x0p+0"]) {
    deepEqual(findFloatFunctions(body(instruction)), ["b/c"]);
  }
  for (const instruction of ["i32.add", "i32x4.dot_i16x8_s", "i64.load"]) {
    deepEqual(findFloatFunctions(body(instruction)), []);
  }
});

/** `file/function` of each function with a float instruction, sorted; generic ones once. */
function findFloatFunctions(text: string): string[] {
  return findFunctions(text, (line) => FLOAT.test(line) && !line.includes("(local "));
}

function findFunctions(text: string, isFound: (line: string) => boolean): string[] {
  const found = new Set<string>();
  let name = "";
  for (const line of text.split("\n")) {
    const head = /^ {2}\(func \$(\S+)/.exec(line)?.[1];
    if (head !== undefined) name = head.replace(/<.*/, "");
    else if (/^ {4}/.test(line) && isFound(line)) {
      found.add(name.replace(/^.*?([^/]+)\.as\//, "$1/"));
    }
  }
  return [...found].toSorted();
}

/** The kernels compiled without optimization, so that functions are those of the sources, as text. */
async function kernelText(): Promise<string> {
  const { main } = await import("assemblyscript/asc");
  let binary: Uint8Array | undefined;
  const { error } = await main(
    [
      ...["src/backend/wasm/kernels/index.as.ts", "-o", "kernels.wasm", "--debug", "--noAssert"],
      ...["--runtime", "stub", "--importMemory", "--sharedMemory", "--initialMemory", "1"],
      ...["--maximumMemory", "65536", "--enable", "simd", "--enable", "threads"],
      ...["--enable", "bulk-memory"],
    ],
    {
      writeFile: (_name: string, contents: string | Uint8Array) => {
        if (typeof contents !== "string") binary = contents;
      },
    },
  );
  if (error) throw error;
  ok(binary !== undefined);
  const module = (await wabtInit()).readWasm(binary, { ...FEATURES, readDebugNames: true });
  module.applyNames();
  return module.toText({ foldExprs: false, inlineExport: false });
}
