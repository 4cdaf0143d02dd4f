// Goal: what goes into a module and what keeps a file from becoming one. Method: real compiler, small files.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { compileFile } from "./compile.ts";
import { CompilerError, type CompilerErrorInfo, type Diagnostic } from "./compiler-error.ts";

const folder = mkdtempSync(join(tmpdir(), "gyrotron-compile-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a program with modules and packages of its own gives a module with its interface", async () => {
  write("shared/Words.mo", 'module { public let greeting = "Hello" };');
  write(
    ".mops/shout@1.2.0/src/lib.mo",
    'module { public func shout(t : Text) : Text { t # "!" } };',
  );
  const main = write(
    "app/main.mo",
    `import Words "../shared/Words";
     import Shout "mo:shout";
     import Text "mo:core/Text";
     persistent actor {
       public query func greet(name : Text) : async Text {
         Shout.shout(Text.join([Words.greeting, name].values(), " "))
       };
     };`,
  );
  const module = await compileFile(main);
  assert.equal(module.candid, "service : {\n  greet: (name: text) -> (text) query;\n}\n");
  assert.equal(module.keepsHeap, true);
  assert.match(module.stableTypes ?? "", /actor/);
  assert.deepEqual(
    module.sources.map(({ path }) => path),
    [main, join(folder, "shared/Words.mo")],
  );
  assert.ok(WebAssembly.validate(module.wasm as Uint8Array<ArrayBuffer>));
  assert.equal(
    Buffer.from(module.wasm).includes(folder),
    false,
    "a path of this machine is in the module",
  );
});

test("mistakes come with file, line, column and number", async () => {
  const file = write(
    "wrong.mo",
    'persistent actor {\n  public func f() : async Nat { "x" };\n};\n',
  );
  const [first] = await mistakesOf(file);
  assert.deepEqual(
    { ...first, file: undefined, message: undefined },
    { file: undefined, severity: "error", line: 2, column: 33, code: "M0050", message: undefined },
  );
  assert.ok(first?.file.endsWith("wrong.mo"));
  assert.match(
    first?.message ?? "",
    /literal of type\n {2}Text\ndoes not have expected type\n {2}Nat/,
  );
});

test("a mistake in an imported file names that file", async () => {
  write("lib/Broken.mo", "module { public let x : Nat = };");
  const [first] = await mistakesOf(
    write(
      "imports.mo",
      'import B "lib/Broken"; persistent actor { public func f() : async Nat { B.x } };',
    ),
  );
  assert.ok(first?.file.endsWith(join("lib", "Broken.mo")));
});

test("a package that is not there says what to do", async () => {
  const [first] = await mistakesOf(
    write("packages.mo", 'import Nat "mo:base/Nat"; persistent actor {};'),
  );
  assert.equal(
    first?.message,
    'package "base" not defined (install it with `mops install`; its successor mo:core is built in)',
  );
});

test("modules are read as they are, compressed ones stay compressed", async () => {
  const plain = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const module = await compileFile(write("plain.wasm", plain));
  assert.deepEqual(Buffer.from(module.wasm), plain);
  assert.equal(module.candid, undefined);
  const zipped = gzipSync(plain);
  assert.deepEqual(Buffer.from((await compileFile(write("zipped.wasm.gz", zipped))).wasm), zipped);
});

for (const [name, content, code] of [
  ["text.txt", "x", "compiler/unknown-kind"],
  ["text.wasm", "no module", "compiler/not-wasm"],
  ["none.wasm", "", "compiler/not-wasm"],
  ["broken.wasm.gz", Buffer.from([0x1f, 0x8b, 8, 0, 1, 2]), "compiler/not-wasm"],
  ["zipped-text.wasm.gz", gzipSync("no module"), "compiler/not-wasm"],
] as const) {
  test(`${name} is refused as ${code}`, async () => {
    await assert.rejects(compileFile(write(name, content)), hasCode(code));
  });
}

for (const name of ["missing.mo", "missing.wasm"]) {
  test(`${name} is refused as unreadable`, async () => {
    await assert.rejects(compileFile(join(folder, name)), hasCode("compiler/file-unreadable"));
  });
}

async function mistakesOf(file: string): Promise<readonly Diagnostic[]> {
  try {
    await compileFile(file);
  } catch (error) {
    if (error instanceof CompilerError && error.info.code === "compiler/rejected")
      return error.info.diagnostics;
    throw error;
  }
  return assert.fail(`${file} compiled`);
}

function hasCode(code: CompilerErrorInfo["code"]): (error: unknown) => boolean {
  return (error) => error instanceof CompilerError && error.info.code === code;
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
}
