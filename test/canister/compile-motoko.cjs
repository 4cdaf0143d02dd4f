// Compiles Motoko sources (a JSON array on standard input) to Wasm (a JSON array of hex).
const motoko = require("motoko");

const sources = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const modules = sources.map((source) => {
  motoko.write("Main.mo", source);
  return Buffer.from(motoko.wasm("Main.mo", "ic").wasm).toString("hex");
});
process.stdout.write(JSON.stringify(modules));
