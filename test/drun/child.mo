// The class of which parent.mo makes canisters.
actor class Child(number_ : Nat) {
  public query func number() : async Nat { number_ };
};
