// A counter that outlives upgrades: `value` and `names` stay in memory when new code is installed.

import List "mo:core/List";
import Runtime "mo:core/Runtime";
import Timer "mo:core/Timer";
import Debug "mo:core/Debug";

persistent actor Counter {
  var value : Nat = 0;
  let names : List.List<Text> = List.empty();

  /// Adds one and returns the new value.
  public func increment() : async Nat {
    value += 1;
    Debug.print("counted to " # debug_show value);
    value
  };

  /// The value now.
  public query func get() : async Nat { value };

  /// Greets, and remembers who was greeted.
  public func greet(name : Text) : async Text {
    names.add(name);
    Debug.print("greeted " # name);
    "Hello, " # name # "! The counter stands at " # debug_show value # "."
  };

  /// Everyone greeted so far.
  public query func greeted() : async [Text] { List.toArray(names) };

  /// Counts once more after some seconds: a message that the canister sends itself.
  public func later(seconds : Nat) : async () {
    ignore Timer.setTimer<system>(#seconds seconds, func() : async () {
      value += 1;
      Debug.print("the timer counted to " # debug_show value);
    });
  };

  /// Traps: nothing of this call remains, and the node's terminal shows where it happened.
  public func fail() : async () {
    value += 1_000_000;
    Runtime.trap("this method always fails");
  };
};
