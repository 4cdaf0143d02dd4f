// The front door of the AssemblyScript kit: import { Arguments, Reply } from "gyrotron/sdk/assemblyscript".
export * from "./canister.as";
export * from "./candid.as";
export * from "./ic0.as";
export * from "./stable-memory.as";
