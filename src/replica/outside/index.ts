// Outside tasks: what the node needs of them.
export {
  headersBytes,
  headersRefusal,
  OUTCALL_HEADER_BYTES_MAX,
  OUTCALL_HEADERS_BYTES_MAX,
  OUTCALL_HEADERS_MAX,
} from "./outcall.ts";
export {
  HTTP_METHODS,
  type HttpHeader,
  type OutcallResult,
  outcallResultCodec,
  type OutcallWork,
  type OutsideTask,
  outsideTaskCodec,
  outsideTaskNumberOfKey,
  type OutsideWork,
  type SigningWork,
} from "./outside-task.ts";
export {
  addStats,
  encodeQueryReport,
  NO_QUERIES,
  type QueryReport,
  type ReportedCanister,
  REPORTED_CANISTERS_MAX,
  statsOf,
} from "./query-report.ts";
export {
  encodeTaskAttestation,
  encodeTaskResult,
  TASK_RESULT_BYTES_MAX,
  taskResultHash,
} from "./task-message.ts";
export { HTTP_RESPONSE, TRANSFORM_ARGUMENT } from "../management/interface-outside.ts";
