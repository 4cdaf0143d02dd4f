// The `name` section: function names, moved to their new indices, so that the engine's backtraces
// read as the developer's source. Names are hints: a malformed section is left out.
import { WasmError } from "./error.ts";
import type { WasmModule } from "./module.ts";
import { WasmReader } from "./reader.ts";
import { WasmWriter } from "./writer.ts";

/** Longest function name kept, in characters. */
const NAME_LENGTH_MAX = 1024;

/** Content of a custom section `name` for the instrumented module, empty if there are no names. */
export function writeNameSection(
  module: WasmModule,
  mapFunction: (index: number) => number,
): WasmWriter {
  const names = functionNames(module);
  const section = new WasmWriter();
  if (names.length === 0) return section;
  const content = new WasmWriter();
  content.u32(names.length);
  for (const { index, name } of names) {
    content.u32(mapFunction(index));
    content.name(name);
  }
  section.name("name");
  section.section(1, content);
  return section;
}

/** Names of functions in increasing order of their index in the original module. */
export function functionNames(module: WasmModule): { index: number; name: string }[] {
  const custom = module.customs.find(({ name }) => name === "name");
  if (custom === undefined) return [];
  try {
    return readFunctionNames(
      new WasmReader(custom.content),
      module.imports.length + module.functions.length,
    );
  } catch (error) {
    if (error instanceof WasmError) return [];
    throw error;
  }
}

function readFunctionNames(
  reader: WasmReader,
  functionCount: number,
): { index: number; name: string }[] {
  while (!reader.done) {
    const id = reader.u8();
    const subsection = reader.sub(reader.u32());
    if (id !== 1) continue;
    const names: { index: number; name: string }[] = [];
    let last = -1;
    for (let left = subsection.count(); left > 0; left--) {
      const index = subsection.u32();
      const name = subsection.name();
      if (index <= last || index >= functionCount) return names;
      last = index;
      names.push({ index, name: name.slice(0, NAME_LENGTH_MAX).toWellFormed() });
    }
    return names;
  }
  return [];
}
