;; A canister whose heap is as large and as full as it is told to be.
(module
  (import "ic0" "msg_arg_data_copy" (func $argument (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  ;; Fills `length` bytes from `offset` with numbers that are not zero; both are u32 at address 0.
  (func (export "canister_update fill")
    (local $at i32) (local $end i32) (local $value i64)
    (call $argument (i32.const 0) (i32.const 0) (i32.const 8))
    (local.set $at (i32.load (i32.const 0)))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 4))))
    (drop (memory.grow (i32.sub
      (i32.shr_u (local.get $end) (i32.const 16))
      (memory.size))))
    (local.set $value (i64.or (i64.extend_i32_u (local.get $at)) (i64.const 1)))
    (loop $words
      (local.set $value (i64.add
        (i64.mul (local.get $value) (i64.const 6364136223846793005))
        (i64.const 1442695040888963407)))
      (i64.store (local.get $at) (local.get $value))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (local.get $end))))
    (call $reply))
  ;; Adds one to each of the 128 words from the address given as u32.
  (func (export "canister_update touch")
    (local $at i32) (local $end i32)
    (call $argument (i32.const 0) (i32.const 0) (i32.const 4))
    (local.set $at (i32.load (i32.const 0)))
    (local.set $end (i32.add (local.get $at) (i32.const 1024)))
    (loop $words
      (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (local.get $end))))
    (call $reply))
  ;; The eight bytes at the address given as u32.
  (func (export "canister_query read")
    (call $argument (i32.const 0) (i32.const 0) (i32.const 4))
    (call $append (i32.load (i32.const 0)) (i32.const 8))
    (call $reply)))
