// Prints Candid values as text with their types, in the form that the parser here reads again.

import { IDL, idlLabelToId } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { utf8Text } from "gyrotron/base";
import { showLabel, unwrap } from "./fit.ts";

const LINE_WIDTH = 80;
const INDENT = "  ";

/**
 * Text `(v1, v2)` of a reply. `types` undefined: as the bytes describe themselves, with field
 * numbers for names.
 */
export function printReply(bytes: Uint8Array, types: readonly IDL.Type[] | undefined): string {
  if (types !== undefined) {
    const values = IDL.decode([...types], bytes);
    return layOut(
      "(",
      ")",
      ",",
      values.map((value, index) => printValue(value, types[index] ?? IDL.Null, INDENT)),
      "",
    );
  }
  const count = countValues(bytes);
  const values = IDL.decode(
    Array.from({ length: count }, () => IDL.Unknown),
    bytes,
  ) as unknown as Described[];
  return layOut(
    "(",
    ")",
    ",",
    values.map((value) => printValue(unbox(value), value.type(), INDENT)),
    "",
  );
}

/** A decoded value that knows its type. */
interface Described {
  type(): IDL.Type;
  valueOf(): unknown;
}

/** Text of one value; continuation lines begin with `indent`. */
export function printValue(value: unknown, type: IDL.Type, indent = ""): string {
  const inner = unwrap(type);
  if (isNumber(inner))
    return `${printNumber(value as bigint | number, inner)} : ${inner.display()}`;
  if (inner instanceof IDL.TextClass) return quote(value as string);
  if (inner instanceof IDL.BoolClass) return String(value);
  if (inner instanceof IDL.NullClass) return "null";
  if (inner instanceof IDL.ReservedClass) return "null : reserved";
  if (inner instanceof IDL.PrincipalClass) return `principal "${(value as Principal).toText()}"`;
  if (inner instanceof IDL.ServiceClass) return `service "${(value as Principal).toText()}"`;
  if (inner instanceof IDL.FuncClass) {
    const [id, method] = value as [Principal, string];
    return `func "${id.toText()}".${showLabel(method)}`;
  }
  if (inner instanceof IDL.OptClass)
    return printOptional(value as unknown[], inner._type as IDL.Type, indent);
  if (inner instanceof IDL.VecClass)
    return printVector(value as ArrayLike<unknown>, inner._type as IDL.Type, indent);
  if (inner instanceof IDL.VariantClass)
    return printVariant(value as Record<string, unknown>, inner, indent);
  if (inner instanceof IDL.RecordClass)
    return printRecord(value as Record<string, unknown>, inner, indent);
  return "empty";
}

/** A text literal with everything escaped that would not read back. */
export function quote(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is escaped here
  const escaped = text.replaceAll(/["\\\u0000-\u001f\u007f]/g, (character) => {
    const simple = SIMPLE_ESCAPES[character];
    return simple ?? `\\u{${character.charCodeAt(0).toString(16)}}`;
  });
  return `"${escaped}"`;
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

function isNumber(type: IDL.Type): boolean {
  return (
    type instanceof IDL.NatClass ||
    type instanceof IDL.IntClass ||
    type instanceof IDL.FixedNatClass ||
    type instanceof IDL.FixedIntClass ||
    type instanceof IDL.FloatClass
  );
}

function printNumber(value: bigint | number, type: IDL.Type): string {
  if (type instanceof IDL.FloatClass) {
    const text = String(value);
    return /^-?[0-9]+$/.test(text) ? `${text}.0` : text;
  }
  return value.toString().replaceAll(/\B(?=([0-9]{3})+$)/g, "_");
}

function printOptional(value: unknown[], type: IDL.Type, indent: string): string {
  if (value.length === 0) return "null";
  const some = printValue(value[0], type, indent);
  return isNumber(unwrap(type)) ? `opt (${some})` : `opt ${some}`;
}

function printVector(items: ArrayLike<unknown>, type: IDL.Type, indent: string): string {
  if (items instanceof Uint8Array) return printBlob(items);
  const texts = Array.from(items, (item) => printValue(item, type, indent + INDENT));
  return layOut("vec {", "}", ";", texts, indent);
}

function printBlob(bytes: Uint8Array): string {
  const text = utf8Text(bytes);
  // oxlint-disable-next-line no-control-regex -- a blob that holds control characters prints as hex
  if (text !== undefined && !/[\u0000-\u001f"\\\u007f]/.test(text)) return `blob "${text}"`;
  return `blob "${Array.from(bytes, (byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}"`;
}

function printVariant(
  value: Record<string, unknown>,
  type: IDL.VariantClass,
  indent: string,
): string {
  const [label, inner] = Object.entries(value)[0] ?? ["", null];
  const optionType = type._fields.find(([name]) => name === label)?.[1] ?? IDL.Null;
  if (unwrap(optionType) instanceof IDL.NullClass) return `variant { ${showLabel(label)} }`;
  return layOut(
    "variant {",
    "}",
    ";",
    [`${showLabel(label)} = ${printValue(inner, optionType, indent + INDENT)}`],
    indent,
  );
}

function printRecord(
  value: Record<string, unknown>,
  type: IDL.RecordClass,
  indent: string,
): string {
  const isTuple = type.tryAsTuple() !== null;
  const texts = [...type._fields]
    .sort(([left], [right]) => idlLabelToId(left) - idlLabelToId(right))
    .map(([label, fieldType], index) => {
      const field = isTuple ? value[index] : value[label];
      const text = printValue(field, fieldType, indent + INDENT);
      return isTuple ? text : `${showLabel(label)} = ${text}`;
    });
  return layOut("record {", "}", ";", texts, indent);
}

/** Parts on one line if they fit, else one line each. */
function layOut(
  open: string,
  close: string,
  separator: string,
  parts: readonly string[],
  indent: string,
): string {
  const gap = open.endsWith("{") ? " " : "";
  const single = `${open}${gap}${parts.join(`${separator} `)}${gap}${close}`;
  if (parts.length === 0) return gap === "" ? `${open}${close}` : `${open}${close}`;
  if (indent.length + single.length <= LINE_WIDTH && !single.includes("\n")) return single;
  const lines = parts.map((part) => `${indent}${INDENT}${part}${separator}\n`).join("");
  return `${open}\n${lines}${indent}${close}`;
}

/** The library boxes primitives to attach their type. */
function unbox(value: Described): unknown {
  return value instanceof Number ||
    value instanceof String ||
    value instanceof Boolean ||
    value instanceof BigInt
    ? value.valueOf()
    : value;
}

/** How many values a Candid message holds: finds the number after the type table. */
function countValues(bytes: Uint8Array): number {
  for (let count = 0; ; count++) {
    try {
      IDL.decode(
        Array.from({ length: count + 1 }, () => IDL.Reserved),
        bytes,
      );
    } catch (error) {
      if (error instanceof Error && error.message === "Wrong number of return values") return count;
      throw error;
    }
  }
}
