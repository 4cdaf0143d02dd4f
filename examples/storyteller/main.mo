// A canister that answers with a language model. It calls the LLM canister, as on the Internet
// Computer; every node of the network runs the model and agrees on the answer bit for bit, and this
// canister pays for it: its users pay nothing.

persistent actor {
  type Role = { #system_; #user; #assistant };
  type Message = { role : Role; content : Text };
  type Request = { model : Text; messages : [Message] };

  transient let llm : actor { v0_chat : (Request) -> async Text } = actor "w36hm-eqaaa-aaaal-qr76a-cai";

  var told : Nat = 0;

  // Continues the text.
  public func tell(beginning : Text) : async Text {
    let continuation = await llm.v0_chat({
      model = "storyteller";
      messages = [{ role = #user; content = beginning }];
    });
    told += 1;
    continuation;
  };

  public query func stories() : async Nat { told };
};
