// A web site whose answers the test writes: what it stores it serves, with the network's certificate of
// whatever root it was told to certify.

import Blob "mo:core/Blob";
import CertifiedData "mo:core/CertifiedData";
import Array "mo:core/Array";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Runtime "mo:core/Runtime";
import Text "mo:core/Text";

persistent actor Site {
  type Header = (Text, Text);
  type Request = { method : Text; url : Text; headers : [Header]; body : Blob };
  type Token = { key : Text; index : Nat };
  type Part = { body : Blob; token : ?Token };
  type Strategy = { #Callback : { callback : shared query Token -> async ?Part; token : Token } };
  type Response = {
    status_code : Nat16;
    headers : [Header];
    body : Blob;
    upgrade : ?Bool;
    streaming_strategy : ?Strategy;
  };
  /// `tail` is what follows the certificate in the header; empty: no such header.
  type Stored = { url : Text; status : Nat16; headers : [Header]; tail : Text; parts : [Blob] };

  var stored : [Stored] = [];
  var count = 0;

  public func put(root : Blob, answers : [Stored]) : async () {
    CertifiedData.set(root);
    stored := answers;
  };

  public query func greet(name : Text, times : Nat) : async Text {
    var text = "";
    var left = times;
    while (left > 0) { text #= "hello " # name # "; "; left -= 1 };
    text;
  };

  public func add(amount : Int) : async { total : Int } {
    if (amount < 0) Runtime.trap("less than nothing");
    count += Nat.fromInt(amount);
    { total = count };
  };

  public query func http_request(request : Request) : async Response {
    let path = switch (Text.split(request.url, #char '?').next()) { case (?p) p; case null "" };
    if (path == "/count") {
      return { status_code = 200; headers = []; body = ""; upgrade = ?true; streaming_strategy = null };
    };
    if (path == "/trap") Runtime.trap("on purpose");
    let ?found = find(path) else {
      return { status_code = 404; headers = []; body = "nothing here"; upgrade = null; streaming_strategy = null };
    };
    let certificate : [Header] = switch (CertifiedData.getCertificate()) {
      case (?bytes) if (found.tail == "") [] else [("IC-Certificate", "certificate=:" # base64(bytes) # ":, " # found.tail)];
      case null [];
    };
    {
      status_code = found.status;
      headers = Array.concat(found.headers, certificate);
      body = found.parts[0];
      upgrade = null;
      streaming_strategy = if (found.parts.size() > 1) ?#Callback({ callback = Site.more; token = { key = path; index = 1 } }) else null;
    };
  };

  public query func more({ key; index } : Token) : async ?Part {
    let ?{ parts } = find(key) else return null;
    ?{ body = parts[index]; token = if (index + 1 < parts.size()) ?{ key; index = index + 1 } else null };
  };

  public func http_request_update(request : Request) : async Response {
    count += 1;
    let text = request.method # " " # Nat.toText(count) # " " # Nat.toText(request.body.size());
    { status_code = 201; headers = [("x-count", Nat.toText(count))]; body = Text.encodeUtf8(text); upgrade = null; streaming_strategy = null };
  };

  func find(url : Text) : ?Stored = Array.find<Stored>(stored, func(s) = s.url == url);

  func base64(bytes : Blob) : Text {
    let letters = Text.toArray("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    let given = Blob.toArray(bytes);
    var text = "";
    var i = 0;
    while (i < given.size()) {
      let left : Nat = given.size() - i;
      let at = func(j : Nat) : Nat = if (i + j < given.size()) Nat8.toNat(given[i + j]) else 0;
      let group = at(0) * 65536 + at(1) * 256 + at(2);
      text #= Text.fromChar(letters[group / 262144]);
      text #= Text.fromChar(letters[group / 4096 % 64]);
      text #= if (left > 1) Text.fromChar(letters[group / 64 % 64]) else "=";
      text #= if (left > 2) Text.fromChar(letters[group % 64]) else "=";
      i += 3;
    };
    text;
  };
};
