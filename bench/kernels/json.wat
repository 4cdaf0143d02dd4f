;; Writes 20,000 records as JSON byte by byte from 65536 on, then scans the text and sums its
;; numbers; % stands for the address type.
(module
  (memory (export "memory") % 40)
  (global $end (mut %) (%.const 0))
  (data (%.const 1024) "{\"id\":,\"name\":\"user\",\"balance\":-},")
  (func $byte (param $c i32)
    (i32.store8 (global.get $end) (local.get $c))
    (global.set $end (%.add (global.get $end) (%.const 1))))
  (func $text (param $from %) (param $length %) (local $to %) (local $i %)
    (local.set $to (global.get $end))
    (loop $next
      (i32.store8 (%.add (local.get $to) (local.get $i)) (i32.load8_u (%.add (local.get $from) (local.get $i))))
      (br_if $next (%.lt_u (local.tee $i (%.add (local.get $i) (%.const 1))) (local.get $length))))
    (global.set $end (%.add (local.get $to) (local.get $length))))
  (func $number (param $n i32) (local $p %) (local $q i32)
    (local.set $p (%.const 2064))
    (loop $digits
      (local.set $q (i32.div_u (local.get $n) (i32.const 10)))
      (local.set $p (%.sub (local.get $p) (%.const 1)))
      (i32.store8 (local.get $p) (i32.add (i32.const 48) (i32.sub (local.get $n) (i32.mul (local.get $q) (i32.const 10)))))
      (br_if $digits (local.tee $n (local.get $q))))
    (call $text (local.get $p) (%.sub (%.const 2064) (local.get $p))))
  (func $record (param $i i32)
    (call $text (%.const 1024) (%.const 6))
    (call $number (local.get $i))
    (call $text (%.const 1030) (%.const 13))
    (call $number (i32.rem_u (local.get $i) (i32.const 1000)))
    (call $text (%.const 1043) (%.const 12))
    (if (i32.and (local.get $i) (i32.const 1)) (then (call $byte (i32.const 45))))
    (call $number (i32.and (i32.mul (local.get $i) (i32.const 2654435)) (i32.const 0xffffff)))
    (call $byte (i32.const 125))
    (call $byte (i32.const 44)))
  (func $scan (param $p %) (result i32) (local $sum i32) (local $n i32) (local $c i32) (local $in i32)
    (loop $next
      (local.set $c (i32.load8_u (local.get $p)))
      (if (i32.lt_u (i32.sub (local.get $c) (i32.const 48)) (i32.const 10))
        (then
          (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (i32.sub (local.get $c) (i32.const 48))))
          (local.set $in (i32.const 1)))
        (else
          (if (local.get $in)
            (then
              (local.set $sum (i32.add (local.get $sum) (local.get $n)))
              (local.set $n (i32.const 0))
              (local.set $in (i32.const 0))))))
      (br_if $next (%.lt_u (local.tee $p (%.add (local.get $p) (%.const 1))) (global.get $end))))
    (local.get $sum))
  (func (export "canister_update run") (local $rounds i32) (local $i i32)
    (local.set $rounds (i32.const 5))
    (loop $again
      (global.set $end (%.const 65536))
      (local.set $i (i32.const 0))
      (loop $records
        (call $record (local.get $i))
        (br_if $records (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000))))
      (i32.store (%.const 0) (call $scan (%.const 65536)))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))
