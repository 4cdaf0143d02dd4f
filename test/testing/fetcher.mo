// Fetches a page and gives the first bytes of what its transform function makes of it.

import Blob "mo:core/Blob";
import Text "mo:core/Text";
import Runtime "mo:core/Runtime";

persistent actor Self {
  type Header = { name : Text; value : Text };
  type Response = { status : Nat; headers : [Header]; body : Blob };
  type Transform = {
    function : shared query ({ response : Response; context : Blob }) -> async Response;
    context : Blob;
  };
  type Request = {
    url : Text;
    max_response_bytes : ?Nat64;
    method : { #get; #head; #post };
    headers : [Header];
    body : ?Blob;
    transform : ?Transform;
    is_replicated : ?Bool;
  };
  transient let ic : actor { http_request : Request -> async Response } = actor "aaaaa-aa";

  public func fetch(url : Text) : async Text {
    let response = await (with cycles = 1_000_000_000) ic.http_request({
      url;
      max_response_bytes = ?1000;
      method = #get;
      headers = [{ name = "accept"; value = "text/plain" }];
      body = null;
      transform = ?{ function = tidy; context = Text.encodeUtf8("tidied: ") };
      is_replicated = null;
    });
    switch (Text.decodeUtf8(response.body)) {
      case (?text) text;
      case null Runtime.trap("this is no text");
    };
  };

  public query func tidy({ response : Response; context : Blob }) : async Response {
    let ?prefix = Text.decodeUtf8(context) else Runtime.trap("no prefix");
    let ?text = Text.decodeUtf8(response.body) else Runtime.trap("no text");
    { status = response.status; headers = []; body = Text.encodeUtf8(prefix # text) };
  };
};
