// Counts, waits and fails: run by drun.test.ts.
import Prim "mo:⛔";

actor a {
  var count : Nat = 0;

  public func go() : async Nat {
    count += 1;
    Prim.debugPrint("count " # debug_show count);
    count
  };

  public query func get() : async Nat { count };

  public func fail() : async () {
    count += 1;
    assert false;
  };

  public func divide() : async Nat { 1 / (count - count : Nat) };

  // Answered in a later block than it is called in.
  public func later() : async Nat {
    let ic = actor "aaaaa-aa" : actor { raw_rand : () -> async Blob };
    (await ic.raw_rand()).size()
  };
};
a.go(); //OR-CALL ingress go "DIDL\x00\x00"
//CALL query get 0x4449444C0000
//CALL ingress fail 0x4449444C0000
//CALL ingress divide 0x4449444C0000
//CALL query nobody 0x4449444C0000
//CALL upgrade
//CALL query get 0x4449444C0000
