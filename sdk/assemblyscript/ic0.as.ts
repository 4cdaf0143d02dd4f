// The system calls as they are, with their names in camel case; sizes and addresses are bytes in the
// heap. A call that a program does not use is not imported. Meaning: the interface specification.

@external("ic0", "msg_arg_data_size") export declare function msgArgDataSize(): i32;
@external("ic0", "msg_arg_data_copy") export declare function msgArgDataCopy(to: usize, offset: i32, size: i32): void;
@external("ic0", "msg_caller_size") export declare function msgCallerSize(): i32;
@external("ic0", "msg_caller_copy") export declare function msgCallerCopy(to: usize, offset: i32, size: i32): void;
@external("ic0", "msg_reply_data_append") export declare function msgReplyDataAppend(from: usize, size: i32): void;
@external("ic0", "msg_reply") export declare function msgReply(): void;
@external("ic0", "msg_reject") export declare function msgReject(from: usize, size: i32): void;
@external("ic0", "msg_reject_code") export declare function msgRejectCode(): i32;
@external("ic0", "accept_message") export declare function acceptMessage(): void;
@external("ic0", "call_new") export declare function callNew(callee: usize, calleeSize: i32, name: usize, nameSize: i32, replyFunction: i32, replyValue: i32, rejectFunction: i32, rejectValue: i32): void;
@external("ic0", "call_on_cleanup") export declare function callOnCleanup(cleanupFunction: i32, value: i32): void;
@external("ic0", "call_data_append") export declare function callDataAppend(from: usize, size: i32): void;
@external("ic0", "call_cycles_add128") export declare function callCyclesAdd128(high: i64, low: i64): void;
@external("ic0", "call_perform") export declare function callPerform(): i32;
@external("ic0", "stable64_size") export declare function stable64Size(): i64;
@external("ic0", "stable64_grow") export declare function stable64Grow(pages: i64): i64;
@external("ic0", "stable64_write") export declare function stable64Write(offset: i64, from: i64, size: i64): void;
@external("ic0", "stable64_read") export declare function stable64Read(to: i64, offset: i64, size: i64): void;
@external("ic0", "certified_data_set") export declare function certifiedDataSet(from: usize, size: i32): void;
@external("ic0", "global_timer_set") export declare function globalTimerSet(timestamp: i64): i64;
@external("ic0", "performance_counter") export declare function performanceCounter(kind: i32): i64;
@external("ic0", "canister_self_size") export declare function canisterSelfSize(): i32;
@external("ic0", "canister_self_copy") export declare function canisterSelfCopy(to: usize, offset: i32, size: i32): void;
@external("ic0", "canister_version") export declare function canisterVersion(): i64;
@external("ic0", "is_controller") export declare function isControllerRaw(from: usize, size: i32): i32;
@external("ic0", "in_replicated_execution") export declare function inReplicatedExecution(): i32;
@external("ic0", "time") export declare function timeRaw(): i64;
@external("ic0", "debug_print") export declare function debugPrint(from: usize, size: i32): void;
@external("ic0", "trap") export declare function trapRaw(from: usize, size: i32): void;
