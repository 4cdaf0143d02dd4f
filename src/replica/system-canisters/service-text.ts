// The Candid interface of a system canister as text, written from its table of methods. The same
// types in the same order give the same text in every process: it is part of the state.

import { assert } from "gyrotron/base";
import { IDL } from "gyrotron/candid";
import type { SystemCanister } from "./method.ts";

const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const KEYWORDS: ReadonlySet<string> = new Set(
  "blob bool composite_query empty float32 float64 func import int int16 int32 int64 int8 nat nat16 nat32 nat64 nat8 null oneway opt principal query record reserved service text type variant vec".split(
    " ",
  ),
);

/** The text of `candid:service`. */
export function serviceText({ methods, typeNames }: SystemCanister): string {
  const names = new Map(Object.entries(typeNames).map(([name, type]) => [type, name]));
  const types = Object.entries(typeNames).map(
    ([name, type]) => `type ${name} = ${describe(bodyOf(type), names)};\n`,
  );
  const lines = Object.entries(methods)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, { mode, argument, result }]) => {
      const given = argument === undefined ? "" : nameOrDescribe(argument, names);
      const suffix = mode === "query" ? " query" : "";
      return `  ${name} : (${given}) -> (${nameOrDescribe(result, names)})${suffix};\n`;
    });
  return `${types.join("")}service : {\n${lines.join("")}}\n`;
}

type Names = ReadonlyMap<IDL.Type, string>;

function nameOrDescribe(type: IDL.Type, names: Names): string {
  return names.get(type) ?? describe(type, names);
}

function describe(type: IDL.Type, names: Names): string {
  const inner = (item: IDL.Type): string => nameOrDescribe(item, names);
  if (type instanceof IDL.TupleClass)
    return `record { ${type._fields.map(([, item]) => inner(item)).join("; ")} }`;
  if (type instanceof IDL.RecordClass) {
    if (type._fields.length === 0) return "record {}";
    const fields = type._fields.map(([label, item]) => `${labelText(label)} : ${inner(item)}`);
    return `record { ${fields.join("; ")} }`;
  }
  if (type instanceof IDL.VariantClass) {
    const cases = type._fields.map(([label, item]) =>
      item instanceof IDL.NullClass ? labelText(label) : `${labelText(label)} : ${inner(item)}`,
    );
    return `variant { ${cases.join("; ")} }`;
  }
  if (type instanceof IDL.VecClass)
    return type._type instanceof IDL.FixedNatClass && type._type._bits === 8
      ? "blob"
      : `vec ${inner(type._type)}`;
  if (type instanceof IDL.OptClass) return `opt ${inner(type._type)}`;
  if (type instanceof IDL.FuncClass) {
    const list = (items: IDL.Type[]): string => `(${items.map(inner).join(", ")})`;
    const mode = type.annotations.map((annotation) => ` ${annotation}`).join("");
    return `func ${list(type.argTypes)} -> ${list(type.retTypes)}${mode}`;
  }
  assert(!(type instanceof IDL.RecClass), "recursive types have names");
  return type.name;
}

/** What a recursive type stands for. */
function bodyOf(type: IDL.Type): IDL.Type {
  return type instanceof IDL.RecClass ? (type.getType() ?? type) : type;
}

function labelText(label: string): string {
  return PLAIN_NAME.test(label) && !KEYWORDS.has(label) ? label : `"${label}"`;
}
