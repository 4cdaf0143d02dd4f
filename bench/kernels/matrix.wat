;; f64 products of 120 x 120 matrices: by dot products, then by row updates. A at 65536, B at
;; 262144, C at 524288; % stands for the address type.
(module
  (memory (export "memory") % 16)
  (func $fill (local $p %) (local $x f64)
    (local.set $p (%.const 65536))
    (local.set $x (f64.const 0.5))
    (loop $next
      (local.set $x (f64.sub (f64.mul (local.get $x) (f64.const 1.25)) (f64.const 0.37)))
      (if (f64.gt (f64.abs (local.get $x)) (f64.const 100)) (then (local.set $x (f64.const 0.71))))
      (f64.store (local.get $p) (local.get $x))
      (br_if $next (%.lt_u (local.tee $p (%.add (local.get $p) (%.const 8))) (%.const 524288)))))
  (func $dots (local $i %) (local $j %) (local $k %) (local $sum f64)
    (loop $rows
      (local.set $j (%.const 0))
      (loop $columns
        (local.set $k (%.const 0))
        (local.set $sum (f64.const 0))
        (loop $inner
          (local.set $sum (f64.add (local.get $sum) (f64.mul
            (f64.load offset=65536 (%.shl (%.add (%.mul (local.get $i) (%.const 120)) (local.get $k)) (%.const 3)))
            (f64.load offset=262144 (%.shl (%.add (%.mul (local.get $k) (%.const 120)) (local.get $j)) (%.const 3))))))
          (br_if $inner (%.lt_u (local.tee $k (%.add (local.get $k) (%.const 1))) (%.const 120))))
        (f64.store offset=524288 (%.shl (%.add (%.mul (local.get $i) (%.const 120)) (local.get $j)) (%.const 3)) (local.get $sum))
        (br_if $columns (%.lt_u (local.tee $j (%.add (local.get $j) (%.const 1))) (%.const 120))))
      (br_if $rows (%.lt_u (local.tee $i (%.add (local.get $i) (%.const 1))) (%.const 120)))))
  (func $rows (local $i %) (local $j %) (local $k %) (local $a f64) (local $p %)
    (loop $rows
      (local.set $k (%.const 0))
      (loop $inner
        (local.set $a (f64.load offset=65536 (%.shl (%.add (%.mul (local.get $i) (%.const 120)) (local.get $k)) (%.const 3))))
        (local.set $j (%.const 0))
        (loop $columns
          (local.set $p (%.shl (%.add (%.mul (local.get $i) (%.const 120)) (local.get $j)) (%.const 3)))
          (f64.store offset=524288 (local.get $p)
            (f64.add (f64.load offset=524288 (local.get $p))
              (f64.mul (local.get $a)
                (f64.load offset=262144 (%.shl (%.add (%.mul (local.get $k) (%.const 120)) (local.get $j)) (%.const 3))))))
          (br_if $columns (%.lt_u (local.tee $j (%.add (local.get $j) (%.const 1))) (%.const 120))))
        (br_if $inner (%.lt_u (local.tee $k (%.add (local.get $k) (%.const 1))) (%.const 120))))
      (br_if $rows (%.lt_u (local.tee $i (%.add (local.get $i) (%.const 1))) (%.const 120)))))
  (func (export "canister_update run") (local $rounds i32)
    (call $fill)
    (local.set $rounds (i32.const 6))
    (loop $again
      (call $dots)
      (call $rows)
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))
