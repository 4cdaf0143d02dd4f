// A canister that answers with a language model. It calls the LLM canister, as on the Internet
// Computer; every node of the network runs the model and agrees on the answer bit for bit, and this
// canister pays for it: its users pay nothing.

persistent actor {
  type Role = { #system_; #user; #assistant };
  type Message = { role : Role; content : Text };
  type Request = { model : Text; messages : [Message] };

  transient let llm : actor { v0_chat : (Request) -> async Text } = actor "w36hm-eqaaa-aaaal-qr76a-cai";

  var told : Nat = 0;

  // Tells a story under a title, or one that was asked for: "Tell me a story about a fox and a crow".
  public func tell(request : Text) : async Text {
    let story = await llm.v0_chat({
      model = "storyteller";
      messages = [{ role = #user; content = request }];
    });
    told += 1;
    story;
  };

  public query func stories() : async Nat { told };
};
