/** The few pages that Kurir shows to people: plain HTML, nothing from elsewhere, and no script but what is named. */

import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';

const STYLE = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; }
label { display: block; margin: 1rem 0; }
input { display: block; width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; }
input[type=checkbox] { display: inline; width: auto; }
button { padding: .5rem 1.5rem; font: inherit; }
code { font-size: 1.05em; overflow-wrap: anywhere; }
.problem { border-left: .25rem solid #c00; padding-left: .75rem; }
`;
const STYLE_HASH = hashOf(STYLE);

/** HTML that may be put into a page as it is. */
export interface Html {
  readonly html: string;
}

/** Writes HTML: what is put in is escaped, unless it is `Html` itself. */
export function html(parts: TemplateStringsArray, ...values: readonly (string | Html)[]): Html {
  const texts = values.map((value) => (typeof value === 'string' ? escapeHtml(value) : value.html));
  return { html: parts.map((part, index) => part + (texts[index] ?? '')).join('') };
}

/** A page. */
export interface Page {
  readonly title: string;
  readonly body: Html;
  readonly status?: number;
  /** The one script that the page runs, a constant. It may call this server. */
  readonly script?: string;
  /** Another site that its form may lead to, such as `https://example.org`. */
  readonly leadsTo?: string;
}

/** Answers with a page that no other site can frame, and that loads nothing. */
export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  const { title, body, status = 200, script } = page;
  const text = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${{ html: STYLE }}</style>
<h1>${title}</h1>
${body}
${script === undefined ? html`` : html`<script>${{ html: script }}</script>`}
</html>
`;
  return reply
    .code(status)
    .headers({
      'content-security-policy': policyOf(page),
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    .type('text/html; charset=utf-8')
    .send(text.html);
}

function policyOf({ script, leadsTo }: Page): string {
  const parts = [
    "default-src 'none'",
    `style-src 'sha256-${STYLE_HASH}'`,
    ...(script === undefined ? [] : [`script-src 'sha256-${hashOf(script)}'`, "connect-src 'self'"]),
    leadsTo === undefined ? "form-action 'self'" : `form-action 'self' ${leadsTo}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ];
  return parts.join('; ');
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
