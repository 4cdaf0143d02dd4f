// Goal: a network moves to another folder as a file and goes on there. Method: the command line, as an
// operator would.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { HttpAgent } from "@icp-sdk/core/agent";
import { runCli, startNode, temporaryFolder } from "./running-node.ts";

test("state export, verify, import: the network goes on in another folder", async () => {
  const [from, to] = [temporaryFolder(), temporaryFolder()];
  const file = join(temporaryFolder(), "network.state");
  const first = await startNode(from, ["--query-workers", "3"]);
  const rootKey = (await HttpAgent.create({ host: first.url, shouldFetchRootKey: true })).rootKey;
  assert.equal(await first.stop(), 0);
  const cli = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runCli(args);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const exported = await cli("state", "export", file, "--data", from, "--keys");
  assert.match(
    exported,
    /^block \d+ of .*, with keys\nroot [0-9a-f]{64}\n\d+ entries of state, \d+ blocks/,
  );
  assert.ok((await cli("state", "verify", file)).startsWith(exported));
  assert.ok((await cli("state", "verify", "--data", from)).startsWith(exported));
  assert.equal(await cli("state", "import", file, "--data", to), exported);
  const second = await startNode(to);
  const agent = await HttpAgent.create({ host: second.url, shouldFetchRootKey: true });
  assert.deepEqual(agent.rootKey, rootKey);
  assert.equal(await second.stop(), 0);
  const refused = await runCli(["state", "import", file, "--data", from]);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /a state is imported into an empty folder only/);
});

test("a folder that cannot be made is refused at once", async () => {
  const { status, stderr } = await runCli(["start", "--port", "0", "--data", "/proc/gyrotron"]);
  assert.equal(status, 1);
  assert.match(stderr, /\/proc\/gyrotron/);
});
