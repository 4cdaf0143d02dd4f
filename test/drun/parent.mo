// Creates canisters, whose ids are those that Motoko's own runner gives: run by drun.test.ts.
import Prim "mo:⛔";
import Child "child";

actor Parent {
  public func go() : async () {
    var round = 0;
    while (round < 2) {
      let child = await (with cycles = 2_000_000_000_000) Child.Child(round);
      Prim.debugPrint(debug_show (Prim.principalOfActor(child), await child.number()));
      round += 1;
    };
  };
};
await Parent.go(); //OR-CALL ingress go 0x4449444C0000
