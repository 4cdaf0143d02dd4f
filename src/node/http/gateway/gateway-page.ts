// What a browser sees when a canister does not answer: a status, what went wrong, and what to do.

import type { HttpReply } from "../http-reply.ts";
import { utf8Bytes } from "gyrotron/base";

/** A failure to show. */
export interface Failure {
  readonly status: number;
  readonly title: string;
  /** One or more sentences. */
  readonly text: string;
}

/** The failure as a page, or as text for clients that do not ask for pages. */
export function failureReply(failure: Failure, accept: string | undefined): HttpReply {
  const { status, title, text } = failure;
  if (accept?.includes("text/html") !== true) {
    const body = utf8Bytes(`${title}\n${text}\n`);
    return { status, contentType: "text/plain; charset=utf-8", body };
  }
  const page = `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${status} ${escapeHtml(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:12vh auto;padding:0 1rem;color-scheme:light dark}
p{overflow-wrap:anywhere}small{opacity:.6}</style>
<h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p><small>gyrotron gateway, status ${status}</small></html>
`;
  return { status, contentType: "text/html; charset=utf-8", body: utf8Bytes(page) };
}

/** Text for a page. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
