// Fits values as written to types: the result is what the agent library encodes. Every mismatch says
// which part of the arguments is wrong, what it must be and what it is.

import { IDL, idlLabelToId } from "@icp-sdk/core/candid";
import { CandidError } from "./candid-error.ts";
import { type Value, inferType, parseArguments } from "./value.ts";

/** Arguments of a call in Candid bytes; `types` undefined: infer them. @throws CandidError */
export function encodeArguments(text: string, types: readonly IDL.Type[] | undefined): Uint8Array {
  const values = parseArguments(text);
  const wanted = types ?? values.map(inferType);
  const missing = wanted.slice(values.length);
  if (values.length > wanted.length || missing.some((type) => !isOptional(type))) {
    throw new CandidError({
      code: "candid/argument-count",
      expected: wanted.length,
      found: values.length,
    });
  }
  const fitted: unknown[] = values.map((value, index) =>
    fitValue(
      value,
      wanted[index] ?? IDL.Empty,
      wanted.length === 1 ? "the argument" : `argument ${index + 1}`,
    ),
  );
  return IDL.encode([...wanted], [...fitted, ...missing.map(absentValue)]);
}

/** The library's value for a type. `path` names the part in messages. @throws CandidError */
export function fitValue(value: Value, type: IDL.Type, path: string): unknown {
  if (value.kind === "typed") return fitValue(value.value, type, path);
  const mismatch = (expected = describeType(type)): CandidError =>
    new CandidError({
      code: "candid/mismatch",
      path,
      expected,
      found: describeValue(value),
      offset: value.offset,
    });
  if (type instanceof IDL.RecClass) return fitValue(value, unwrap(type), path);
  if (type instanceof IDL.NatClass) return fitInteger(value, 0n, undefined, mismatch);
  if (type instanceof IDL.IntClass) return fitInteger(value, undefined, undefined, mismatch);
  if (type instanceof IDL.FixedNatClass)
    return fitFixed(value, type._bits, 0n, 1n << BigInt(type._bits), mismatch);
  if (type instanceof IDL.FixedIntClass) {
    const half = 1n << BigInt(type._bits - 1);
    return fitFixed(value, type._bits, -half, half, mismatch);
  }
  if (type instanceof IDL.FloatClass) {
    if (value.kind === "number") return Number(value.text);
  } else if (type instanceof IDL.BoolClass) {
    if (value.kind === "bool") return value.value;
  } else if (type instanceof IDL.TextClass) {
    if (value.kind === "text") return value.text;
  } else if (type instanceof IDL.NullClass) {
    if (value.kind === "null") return null;
  } else if (type instanceof IDL.ReservedClass) {
    return null;
  } else if (type instanceof IDL.PrincipalClass) {
    if (value.kind === "principal") return value.id;
  } else if (type instanceof IDL.ServiceClass) {
    if (value.kind === "service" || value.kind === "principal") return value.id;
  } else if (type instanceof IDL.FuncClass) {
    if (value.kind === "func") return [value.id, value.method];
  } else if (type instanceof IDL.OptClass) {
    return fitOptional(value, type._type, path);
  } else if (type instanceof IDL.VecClass) {
    return fitVector(value, type._type, path, mismatch);
  } else if (type instanceof IDL.RecordClass) {
    return fitRecord(value, type, path, mismatch);
  } else if (type instanceof IDL.VariantClass) {
    return fitVariant(value, type, path, mismatch);
  }
  throw mismatch();
}

type Mismatch = (expected?: string) => CandidError;

function fitInteger(
  value: Value,
  low: bigint | undefined,
  high: bigint | undefined,
  mismatch: Mismatch,
): bigint {
  if (value.kind !== "number" || !/^-?(0x[0-9a-f]+|[0-9]+)$/i.test(value.text)) throw mismatch();
  const magnitude = BigInt(value.text.replace("-", ""));
  const integer = value.text.startsWith("-") ? -magnitude : magnitude;
  if ((low !== undefined && integer < low) || (high !== undefined && integer >= high))
    throw mismatch();
  return integer;
}

function fitFixed(
  value: Value,
  bits: number,
  low: bigint,
  high: bigint,
  mismatch: Mismatch,
): bigint | number {
  const integer = fitInteger(value, low, high, mismatch);
  return bits <= 32 ? Number(integer) : integer;
}

/** `null` is none, `opt v` is some, and a bare value is some as well, as Candid's subtyping has it. */
function fitOptional(value: Value, type: IDL.Type, path: string): unknown[] {
  if (value.kind === "null") return [];
  if (value.kind === "opt") return [fitValue(value.value, type, path)];
  return [fitValue(value, type, path)];
}

function fitVector(value: Value, type: IDL.Type, path: string, mismatch: Mismatch): unknown {
  if (value.kind === "vec") {
    return value.items.map((item, index) => fitValue(item, type, `${path}, item ${index + 1}`));
  }
  const isBlob = type instanceof IDL.FixedNatClass && type._bits === 8;
  if (value.kind === "blob" && isBlob) return value.bytes;
  throw mismatch();
}

function fitRecord(value: Value, type: IDL.RecordClass, path: string, mismatch: Mismatch): unknown {
  if (value.kind !== "record") throw mismatch();
  const given = new Map(value.fields.map(([label, field]) => [idlLabelToId(label), field]));
  const fitted = type._fields.map(([label, fieldType]): [string, unknown] => {
    const field = given.get(idlLabelToId(label));
    given.delete(idlLabelToId(label));
    if (field !== undefined)
      return [label, fitValue(field, fieldType, `${path}, field ${showLabel(label)}`)];
    if (isOptional(fieldType)) return [label, absentValue(fieldType)];
    throw mismatch(`a record with the field ${showLabel(label)}`);
  });
  const surplus = value.fields.find(([label]) => given.has(idlLabelToId(label)));
  if (surplus !== undefined) throw mismatch(`a record without the field ${showLabel(surplus[0])}`);
  if (type.tryAsTuple() !== null) return fitted.map(([, field]) => field);
  return Object.fromEntries(fitted);
}

function fitVariant(
  value: Value,
  type: IDL.VariantClass,
  path: string,
  mismatch: Mismatch,
): unknown {
  if (value.kind !== "variant") throw mismatch();
  const wanted = idlLabelToId(value.label);
  const option = type._fields.find(([label]) => idlLabelToId(label) === wanted);
  if (option === undefined) throw mismatch();
  const [label, optionType] = option;
  const inner: Value = value.value ?? { kind: "null", offset: value.offset };
  return { [label]: fitValue(inner, optionType, `${path}, variant ${showLabel(label)}`) };
}

/** The type behind a recursive name. */
export function unwrap(type: IDL.Type): IDL.Type {
  return type instanceof IDL.RecClass ? (type.getType() ?? type) : type;
}

function isOptional(type: IDL.Type): boolean {
  const inner = unwrap(type);
  return (
    inner instanceof IDL.OptClass ||
    inner instanceof IDL.NullClass ||
    inner instanceof IDL.ReservedClass
  );
}

/** The value of an optional part that was left out. */
function absentValue(type: IDL.Type): unknown {
  return unwrap(type) instanceof IDL.OptClass ? [] : null;
}

/** A field's name, or the number of a field without one. */
export function showLabel(label: string): string {
  return (
    /^_([0-9]+)_$/.exec(label)?.[1] ??
    (/^[A-Za-z_][A-Za-z0-9_]*$/.test(label) ? label : JSON.stringify(label))
  );
}

function describeType(type: IDL.Type): string {
  const inner = unwrap(type);
  if (
    inner instanceof IDL.VecClass &&
    inner._type instanceof IDL.FixedNatClass &&
    inner._type._bits === 8
  )
    return "a blob";
  if (inner instanceof IDL.VecClass) return "a vec";
  if (inner instanceof IDL.RecordClass) {
    return `a record { ${inner._fields.map(([label]) => showLabel(label)).join("; ")} }`;
  }
  if (inner instanceof IDL.VariantClass) {
    return `a variant { ${inner._fields.map(([label]) => showLabel(label)).join(" | ")} }`;
  }
  if (inner instanceof IDL.FuncClass) return "a func";
  if (inner instanceof IDL.ServiceClass) return "a service";
  return inner.display();
}

function describeValue(value: Value): string {
  if (value.kind === "number") return value.text;
  if (value.kind === "bool") return String(value.value);
  if (value.kind === "null") return "null";
  if (value.kind === "variant") return `variant { ${showLabel(value.label)} }`;
  if (value.kind !== "text") return `a ${value.kind}`;
  return value.text.length > 30 ? "a text" : `the text ${JSON.stringify(value.text)}`;
}
