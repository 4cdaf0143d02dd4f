// System calls about the canister and the world round it: identity, time, timer, certified data,
// controllers, environment variables, counters, printing and trapping.

import {
  CERTIFIED_DATA_BYTES_MAX,
  ENVIRONMENT_VARIABLE_BYTES_MAX,
  PRINCIPAL_BYTES_MAX,
  equalBytes,
  utf8Bytes,
  utf8Text,
  utf8TextLossy,
} from "gyrotron/base";
import { calledTrap, contractViolation, raise, violationText } from "../runtime/trap.ts";
import { copyCall, sizeCall } from "./arguments.ts";
import { type Execution, unsigned } from "./execution.ts";
import type { Host } from "./host.ts";
import { LogBuffer } from "./log-buffer.ts";
import { RULES, type SystemCalls } from "./rules.ts";

type Names =
  | "canister_self_size"
  | "canister_self_copy"
  | "subnet_self_size"
  | "subnet_self_copy"
  | "canister_status"
  | "canister_version"
  | "root_key_size"
  | "root_key_copy"
  | "certified_data_set"
  | "data_certificate_present"
  | "data_certificate_size"
  | "data_certificate_copy"
  | "time"
  | "global_timer_set"
  | "performance_counter"
  | "is_controller"
  | "in_replicated_execution"
  | "debug_print"
  | "trap";

const STATUS_CODE = { running: 1, stopping: 2, stopped: 3 } as const;

/** The calls of this file but for environment variables. */
export function environmentCalls(host: Host): SystemCalls<Names> {
  const self = (e: Execution): Uint8Array => e.context.canisterId;
  const subnet = (e: Execution): Uint8Array => e.context.subnetId;
  const rootKey = (e: Execution): Uint8Array => e.context.rootKey;
  return {
    canister_self_size: sizeCall(host, "canister_self_size", self),
    canister_self_copy: copyCall(host, "canister_self_copy", self),
    subnet_self_size: sizeCall(host, "subnet_self_size", subnet),
    subnet_self_copy: copyCall(host, "subnet_self_copy", subnet),
    canister_status: () => STATUS_CODE[host.enter(RULES.canister_status).context.status],
    canister_version: () => host.enter(RULES.canister_version).context.version,
    root_key_size: sizeCall(host, "root_key_size", rootKey),
    root_key_copy: copyCall(host, "root_key_copy", rootKey),
    certified_data_set: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.certified_data_set);
      if (unsigned(size) > CERTIFIED_DATA_BYTES_MAX) {
        const text = `ic0.certified_data_set: size ${BigInt(unsigned(size))} exceeds the maximum of ${CERTIFIED_DATA_BYTES_MAX} bytes`;
        raise(contractViolation(text));
      }
      e.certifiedData = e.read("ic0.certified_data_set", source, size);
    },
    data_certificate_present: () =>
      host.enter(RULES.data_certificate_present).context.dataCertificate === undefined ? 0 : 1,
    data_certificate_size: sizeCall(host, "data_certificate_size", certificate),
    data_certificate_copy: copyCall(host, "data_certificate_copy", certificate),
    time: () => host.enter(RULES.time).context.timeNs,
    global_timer_set: (timeNs: bigint) => {
      const e = host.enter(RULES.global_timer_set);
      const previous = e.globalTimerNs ?? e.context.globalTimerNs;
      e.globalTimerNs = BigInt.asUintN(64, timeNs);
      return previous;
    },
    performance_counter: (kind: number) => {
      const e = host.enter(RULES.performance_counter);
      if (kind === 0) return e.gas.used();
      if (kind === 1) return e.context.contextInstructions + e.gas.used();
      const text = `ic0.performance_counter: Error getting performance counter type ${kind >>> 0}`;
      raise(contractViolation(text));
    },
    is_controller: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.is_controller);
      const id = e.read("ic0.is_controller", source, size);
      if (id.length > PRINCIPAL_BYTES_MAX) {
        raise(violationText("Canister provided invalid principal id"));
      }
      return e.context.controllers.some((controller) => equalBytes(controller, id)) ? 1 : 0;
    },
    in_replicated_execution: () => (host.enter(RULES.in_replicated_execution).isLocal ? 0 : 1),
    debug_print: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.debug_print);
      const text = printable(e, source, size);
      e.logs.append(text ?? utf8Bytes("(debug_print message out of memory bounds)"));
    },
    trap: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.trap);
      const text = printable(e, source, size);
      const message =
        text === undefined ? "(trap message out of memory bounds)" : utf8TextLossy(text);
      raise(calledTrap(message));
    },
  };
}

/** The calls on environment variables. */
export function environmentVariableCalls(
  host: Host,
): SystemCalls<
  | "env_var_count"
  | "env_var_name_size"
  | "env_var_name_copy"
  | "env_var_name_exists"
  | "env_var_value_size"
  | "env_var_value_copy"
> {
  return {
    env_var_count: () => {
      const e = host.enter(RULES.env_var_count);
      return e.index(e.context.environment.length);
    },
    env_var_name_size: (index: number | bigint) => {
      const e = host.enter(RULES.env_var_name_size);
      return e.index(nameAt(e, index).length);
    },
    env_var_name_copy: (
      index: number | bigint,
      target: number | bigint,
      offset: number | bigint,
      size: number | bigint,
    ) => {
      const e = host.enter(RULES.env_var_name_copy);
      e.copyOut("ic0.env_var_name_copy", nameAt(e, index), target, offset, size);
    },
    env_var_name_exists: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.env_var_name_exists);
      const name = readName(e, "env_var_name_exists", source, size);
      return e.context.environment.some((variable) => variable.name === name) ? 1 : 0;
    },
    env_var_value_size: (source: number | bigint, size: number | bigint) => {
      const e = host.enter(RULES.env_var_value_size);
      return e.index(valueOf(e, "env_var_value_size", source, size).length);
    },
    env_var_value_copy: (
      nameSource: number | bigint,
      nameSize: number | bigint,
      target: number | bigint,
      offset: number | bigint,
      size: number | bigint,
    ) => {
      const e = host.enter(RULES.env_var_value_copy);
      const value = valueOf(e, "env_var_value_copy", nameSource, nameSize);
      e.copyOut("ic0.env_var_value_copy", value, target, offset, size);
    },
  };
}

function certificate(e: Execution): Uint8Array {
  if (e.context.dataCertificate === undefined) {
    raise(contractViolation("ic0.data_certificate_size: no data certificate is available"));
  }
  return e.context.dataCertificate;
}

/** Text to print, cut to what a log can hold, or undefined if it is out of bounds. Paid in full. */
function printable(
  e: Execution,
  source: number | bigint,
  size: number | bigint,
): Uint8Array | undefined {
  if (!e.isWithinHeap(source, size)) return undefined;
  const length = unsigned(size);
  e.gas.charge(length);
  const start = unsigned(source);
  return e.heap.bytes.slice(start, start + Math.min(length, LogBuffer.textBytesMax));
}

function nameAt(e: Execution, index: number | bigint): Uint8Array {
  const variables = e.context.environment;
  const found = variables[unsigned(index)];
  if (found === undefined) {
    const text = `Environment variable index ${BigInt(unsigned(index))} is out of bounds.`;
    raise(violationText(`${text} The number of environment variables is ${variables.length}.`));
  }
  return utf8Bytes(found.name);
}

function readName(
  e: Execution,
  call: string,
  source: number | bigint,
  size: number | bigint,
): string {
  if (unsigned(size) > ENVIRONMENT_VARIABLE_BYTES_MAX) {
    const text = `Variable name is too large. Given ${BigInt(unsigned(size))} bytes, limit is ${ENVIRONMENT_VARIABLE_BYTES_MAX} bytes.`;
    raise(contractViolation(`ic0.${call}: ${text}`));
  }
  const name = utf8Text(e.read(`ic0.${call}`, source, size));
  if (name === undefined)
    raise(contractViolation(`ic0.${call}: Variable name is not valid UTF-8.`));
  return name;
}

function valueOf(
  e: Execution,
  call: string,
  source: number | bigint,
  size: number | bigint,
): Uint8Array {
  const name = readName(e, call, source, size);
  const found = e.context.environment.find((variable) => variable.name === name);
  if (found === undefined) raise(violationText(`Environment variable ${name} not found.`));
  return utf8Bytes(found.value);
}
