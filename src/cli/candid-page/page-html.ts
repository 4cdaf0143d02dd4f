// How the Candid pages look: one document without references, so that it works without a network.
// Inputs follow the types of arguments; what has no input of its own is written as Candid text.

import { IDL } from "@icp-sdk/core/candid";
import { escapeHtml } from "gyrotron/node";
import { unwrap } from "../candid/fit.ts";

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
h1{font-size:1.2rem;overflow-wrap:anywhere}form{border-top:1px solid #8886;padding:.8rem 0}
code,pre,input,textarea,select{font:13px/1.5 ui-monospace,monospace}label{display:block;margin:.3rem 0}
input,textarea{width:100%;box-sizing:border-box}label small,summary{opacity:.65}
output{display:block;white-space:pre-wrap;overflow-wrap:anywhere;margin-top:.4rem}
output[data-state=bad]{color:#c33}button{font:inherit;padding:.1rem .8rem}`;

/** Puts arguments together as Candid text, sends them, shows what comes back. */
const SCRIPT = `const quote=t=>JSON.stringify(t).replace(/\\\\u([0-9a-f]{4})/g,"\\\\u{$1}").replace(/\\\\[bf]/g,c=>c==="\\\\b"?"\\\\u{8}":"\\\\u{c}");
const wrap={text:quote,principal:v=>"principal "+quote(v.trim()),candid:v=>v};
for(const form of document.querySelectorAll("form[data-method],form[data-whole]"))form.addEventListener("submit",async event=>{event.preventDefault();
const out=form.querySelector("output"),button=form.querySelector("button");
const method=form.dataset.method??form.elements.method?.value;if(method===undefined)return;
const fields=[...form.querySelectorAll("[data-kind]")].map(e=>wrap[e.dataset.kind](e.value));
const body=form.dataset.whole!==undefined?fields[0]:"("+fields.join(", ")+")";
const url="/_/candid/call?"+new URLSearchParams({canisterId:document.body.dataset.canister,method,kind:form.elements.kind?.value??""});
button.disabled=true;out.dataset.state="";out.value="…";const start=performance.now();
try{const r=await fetch(url,{method:"POST",body});out.dataset.state=r.ok?"good":"bad";
out.value=await r.text()+"\\n\\n"+Math.round(performance.now()-start)+" ms"}
catch{out.dataset.state="bad";out.value="the node does not answer"}
button.disabled=false});`;

/** The page where a canister's id can be entered. */
export function renderOverview(problem?: string): string {
  const note = problem === undefined ? "" : `<p>${escapeHtml(problem)}</p>`;
  return document(
    "Candid",
    `<h1>Candid interface</h1>${note}<form action="/_/candid"><label>Canister id <input name="canisterId" required></label><button>Open</button></form>`,
  );
}

/** The page of a canister; without methods it has one form for any method. */
export function renderCanister(
  id: string,
  service: string,
  methods: ReadonlyMap<string, IDL.FuncClass>,
): string {
  const forms = [...methods].map(([name, type]) => methodForm(name, type)).join("");
  const source =
    service === ""
      ? "<p>This canister publishes no interface. Arguments are written as Candid text.</p>"
      : `<details><summary>candid:service</summary><pre>${escapeHtml(service)}</pre></details>`;
  const body = `<h1>${escapeHtml(id)}</h1><p>Calls are made as the anonymous user.</p>${forms === "" ? anyMethodForm() : forms}${source}`;
  return document(id, body, id);
}

function methodForm(name: string, type: IDL.FuncClass): string {
  const isQuery = type.annotations.some((annotation) => annotation.endsWith("query"));
  const inputs = type.argTypes.map((argument, index) => input(argument, index)).join("");
  const results = type.retTypes.map((result) => result.display()).join(", ");
  return `<form data-method="${escapeHtml(name)}"><strong>${escapeHtml(name)}</strong> <small>→ (${escapeHtml(results)})</small>${inputs}<button>${isQuery ? "Query" : "Call"}</button><output></output></form>`;
}

function anyMethodForm(): string {
  return `<form data-whole><label>Method <input name="method" required></label><label>Arguments <textarea data-kind="candid">()</textarea></label><label>As <select name="kind"><option value="call">call</option><option value="query">query</option></select></label><button>Send</button><output></output></form>`;
}

/** An input for one argument. */
function input(type: IDL.Type, index: number): string {
  const label = `<small>${index + 1}: ${escapeHtml(type.display())}</small>`;
  return `<label>${label}${control(unwrap(type))}</label>`;
}

function control(type: IDL.Type): string {
  if (type instanceof IDL.TextClass) return `<textarea rows="1" data-kind="text"></textarea>`;
  if (type instanceof IDL.PrincipalClass) return `<input data-kind="principal" value="aaaaa-aa">`;
  if (type instanceof IDL.BoolClass)
    return `<select data-kind="candid"><option>true</option><option>false</option></select>`;
  if (type instanceof IDL.NullClass) return `<input data-kind="candid" value="null" readonly>`;
  const isNatural = type instanceof IDL.NatClass || type instanceof IDL.FixedNatClass;
  const isInteger = type instanceof IDL.IntClass || type instanceof IDL.FixedIntClass;
  if (isNatural || isInteger)
    return `<input data-kind="candid" inputmode="numeric" pattern="${isNatural ? "" : "[+\\-]?"}[0-9][0-9_]*" value="0" required>`;
  return `<textarea rows="2" data-kind="candid">${escapeHtml(example(type))}</textarea>`;
}

/** Candid text to begin with. */
function example(type: IDL.Type): string {
  if (type instanceof IDL.OptClass) return "null";
  if (type instanceof IDL.RecordClass) return "record {}";
  if (type instanceof IDL.VecClass) return "vec {}";
  if (type instanceof IDL.VariantClass) return "variant {}";
  return type instanceof IDL.FloatClass ? "0.0" : "";
}

function document(title: string, body: string, canister = ""): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body data-canister="${escapeHtml(canister)}">${body}<script>${SCRIPT}</script></body></html>
`;
}
