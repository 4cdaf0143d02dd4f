// What an operator may choose of a new network on the command line, and that it is fixed then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { runCli, startNode, temporaryFolder } from "./running-node.ts";

test("a new network is what its flags say, and an old one is not changed by them", async () => {
  const data = temporaryFolder();
  const admin = "2vxsx-fae";
  const flags = ["--icp-rate", "7.5", "--subnet-admin", admin, "--no-provisional"];
  const own = await startNode(data, flags);
  const agent = await HttpAgent.create({ host: own.url, shouldFetchRootKey: true });
  const minting = Principal.fromText("rkp4c-7iaaa-aaaaa-aaaca-cai");
  const methodName = "get_icp_xdr_conversion_rate";
  const rate = await agent.query(minting, { methodName, arg: IDL.encode([], []) });
  assert.ok("reply" in rate);
  const RATE = IDL.Record({ data: IDL.Record({ xdr_permyriad_per_icp: IDL.Nat64 }) });
  const [{ data: found }] = IDL.decode([RATE], rate.reply.arg) as unknown as [
    { data: { xdr_permyriad_per_icp: bigint } },
  ];
  assert.equal(found.xdr_permyriad_per_icp, 75_000n);
  const management = Principal.managementCanister();
  const create = (method: string): Promise<unknown> =>
    agent.update(management, {
      methodName: method,
      arg: IDL.encode([IDL.Record({})], [{}]),
      effectiveCanisterId: management,
    });
  await create("create_canister"); // the anonymous user is an administrator
  await assert.rejects(create("provisional_create_canister_with_cycles"), /cycles cannot be made/);
  assert.equal(await own.stop(), 0);
  for (const [wrong, problem] of [
    [["--icp-rate", "7.4999"], /--icp-rate is 7\.5000/],
    [["--subnet-admin", "aaaaa-aa"], /--subnet-admin is 2vxsx-fae/],
    [["--icp-rate", "0"], /^--icp-rate takes a number such as 3\.52, not 0/],
    [["--icp-rate", "1e3"], /^--icp-rate takes a number/],
    [["--subnet-admin", "me"], /^--subnet-admin takes a principal, not me/],
  ] as const) {
    const { status, stderr } = await runCli(["start", "--port", "0", "--data", data, ...wrong]);
    assert.notEqual(status, 0);
    assert.match(stderr, problem);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  const again = await startNode(data, flags);
  assert.equal(await again.stop(), 0);
});
