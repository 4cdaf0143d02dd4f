// Candid: argument encoding and decoding over @icp-sdk/core's IDL.
export * from "./arguments.ts";
