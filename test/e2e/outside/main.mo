// Asks the network for what is outside of it: the web and signatures.

persistent actor {
  type Header = { name : Text; value : Text };
  type Response = { status : Nat; headers : [Header]; body : Blob };
  type Transform = shared query { response : Response; context : Blob } -> async Response;
  type EcdsaKey = { curve : { #secp256k1 }; name : Text };
  type SchnorrKey = { algorithm : { #ed25519; #bip340secp256k1 }; name : Text };

  transient let network = actor "aaaaa-aa" : actor {
    http_request : shared {
      url : Text;
      max_response_bytes : ?Nat64;
      method : { #get; #head; #post };
      headers : [Header];
      body : ?Blob;
      transform : ?{ function : Transform; context : Blob };
      is_replicated : ?Bool;
    } -> async Response;
    ecdsa_public_key : shared { canister_id : ?Principal; derivation_path : [Blob]; key_id : EcdsaKey } -> async {
      public_key : Blob;
      chain_code : Blob;
    };
    sign_with_ecdsa : shared { message_hash : Blob; derivation_path : [Blob]; key_id : EcdsaKey } -> async {
      signature : Blob;
    };
    schnorr_public_key : shared { canister_id : ?Principal; derivation_path : [Blob]; key_id : SchnorrKey } -> async {
      public_key : Blob;
      chain_code : Blob;
    };
    sign_with_schnorr : shared { message : Blob; derivation_path : [Blob]; key_id : SchnorrKey } -> async {
      signature : Blob;
    };
  };

  public query func transform(given : { response : Response; context : Blob }) : async Response {
    { status = given.response.status; headers = []; body = given.context };
  };

  public func fetch(url : Text, maxBytes : Nat64, transformed : Bool) : async Response {
    await (with cycles = 100_000_000_000) network.http_request({
      url;
      max_response_bytes = ?maxBytes;
      method = #get;
      headers = [{ name = "x-asked"; value = "yes" }];
      body = null;
      transform = if transformed ?{ function = transform; context = "\01\02\03" } else null;
      is_replicated = null;
    });
  };

  public func post(url : Text, body : Blob) : async Response {
    await (with cycles = 100_000_000_000) network.http_request({
      url;
      max_response_bytes = ?1000;
      method = #post;
      headers = [];
      body = ?body;
      transform = null;
      is_replicated = ?false;
    });
  };

  public func signHash(message_hash : Blob) : async { public_key : Blob; signature : Blob } {
    let key_id = { curve = #secp256k1; name = "dfx_test_key" };
    let derivation_path = ["\00\01" : Blob];
    let { public_key } = await network.ecdsa_public_key({ canister_id = null; derivation_path; key_id });
    let { signature } = await (with cycles = 30_000_000_000) network.sign_with_ecdsa({
      message_hash;
      derivation_path;
      key_id;
    });
    { public_key; signature };
  };

  public func signMessage(message : Blob) : async { public_key : Blob; signature : Blob } {
    let key_id = { algorithm = #ed25519; name = "key_1" };
    let derivation_path = ["\00\01" : Blob];
    let { public_key } = await network.schnorr_public_key({ canister_id = null; derivation_path; key_id });
    let { signature } = await (with cycles = 30_000_000_000) network.sign_with_schnorr({
      message;
      derivation_path;
      key_id;
    });
    { public_key; signature };
  };
};
