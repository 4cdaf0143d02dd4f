// What the HTTP benchmark calls: state that changes with every call, and a read of it.
persistent actor {
  var value : Nat = 0;
  public func increment() : async Nat { value += 1; value };
  public query func get() : async Nat { value };
};
