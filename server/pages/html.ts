/**
 * The few pages that Kurir shows to people: plain HTML, nothing from elsewhere, and no script but what is named. They are
 * for everybody: by keyboard, by ear, at any size, in light and dark (WCAG 2.2 AA).
 */

import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import {
  askedLanguage,
  LANGUAGE_COOKIE,
  languageNames,
  languages,
  type Speech,
} from '../languages/choose.ts';

const STYLE = `
:root { color-scheme: light dark; --text: #1b1b1b; --ground: #fff; --quiet: #595959; --line: #6b6b6b;
  --lead: #0b4fae; --on-lead: #fff; --problem: #b00020; font: 1rem/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececec; --ground: #16181d; --quiet: #b4b4b4; --line: #9a9a9a;
    --lead: #9cc2ff; --on-lead: #10131a; --problem: #ff9a92; }
}
body { max-width: 34rem; margin: 2rem auto; padding: 0 1rem; color: var(--text); background: var(--ground);
  overflow-wrap: anywhere; }
h1, h2 { line-height: 1.25; }
a { color: var(--lead); }
:focus-visible { outline: .2rem solid var(--lead); outline-offset: .15rem; }
label { display: block; margin: 1rem 0 .25rem; }
label.choice { display: flex; gap: .75rem; align-items: center; min-height: 2.75rem; margin: .5rem 0; }
.hint { margin: 0 0 .25rem; color: var(--quiet); }
input, select { display: block; width: 100%; box-sizing: border-box; min-height: 2.75rem; padding: .5rem; font: inherit;
  color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .25rem; }
select { background: var(--ground); }
input[type=checkbox], input[type=radio] { flex: none; width: 1.5rem; height: 1.5rem; min-height: 0; margin: 0; }
button, .button { display: inline-block; box-sizing: border-box; min-height: 2.75rem; margin: 1rem .5rem 0 0;
  padding: .5rem 1.5rem; font: inherit; text-decoration: none; color: var(--on-lead); background: var(--lead);
  border: 1px solid var(--lead); border-radius: .25rem; cursor: pointer; }
button.second, .button.second { color: var(--lead); background: transparent; }
ul.links { list-style: none; padding: 0; }
ul.links a { display: inline-block; min-height: 1.5rem; padding: .5rem 0; }
ul.links a[aria-current] { color: inherit; font-weight: bold; text-decoration: none; }
main nav { margin-top: 2.5rem; border-top: 1px solid var(--line); }
main nav ul { columns: 13rem; }
main nav li { margin: 0; break-inside: avoid; }
li { margin: .25rem 0; }
dt { color: var(--quiet); }
dd { margin: 0 0 .5rem; }
code { font-size: 1.05em; }
svg.qr { display: block; width: 14rem; max-width: 100%; height: auto; margin: 1rem 0; background: #fff; }
.problem { border-left: .25rem solid var(--problem); padding-left: .75rem; }
.problem h2 { margin: 0; font-size: 1rem; color: var(--problem); }
.problem p { margin: 0; }
.done { border-left: .25rem solid var(--lead); padding-left: .75rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); }
footer ul { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
[hidden] { display: none !important; }
`;
const STYLE_HASH = hashOf(STYLE);
const YEAR_S = 31_536_000;

/** HTML that may be put into a page as it is. */
export interface Html {
  readonly html: string;
}

/** Writes HTML: what is put in is escaped, unless it is `Html` itself. */
export function html(
  parts: TemplateStringsArray,
  ...values: readonly (string | Html | readonly Html[])[]
): Html {
  const texts = values.map((value) => {
    if (typeof value === 'string') return escapeHtml(value);
    return 'html' in value ? value.html : value.map((one) => one.html).join('\n');
  });
  return { html: parts.map((part, index) => part + (texts[index] ?? '')).join('') };
}

/** A text of a language with values, which may be HTML, in the place of its `{words}`. */
export function phrase(text: string, values: Readonly<Record<string, string | Html>>): Html {
  const parts = text.split(/\{(\w+)\}/);
  const written = parts.map((part, index) => {
    const value = index % 2 === 1 && Object.hasOwn(values, part) ? values[part] : undefined;
    if (value === undefined) return escapeHtml(index % 2 === 1 ? `{${part}}` : part);
    return typeof value === 'string' ? escapeHtml(value) : value.html;
  });
  return { html: written.join('') };
}

/** A page. */
export interface Page {
  readonly title: string;
  readonly body: Html;
  /** The language of the page; English unless given. */
  readonly speech?: Speech;
  /**
   * The address at which it is offered in the other languages. Not what the browser asked for: what stands in addresses,
   * such as the token of a letter, stands in no page.
   */
  readonly address?: string;
  readonly status?: number;
  /** The one script that the page runs, a constant. It may call this server. */
  readonly script?: string;
  /** Another site that its form may lead to, such as `https://example.org`. */
  readonly leadsTo?: string;
}

/** Answers with a page that no other site can frame, and that loads nothing. */
export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  const { title, body, speech, address, status = 200, script } = page;
  const text = html`<!doctype html>
<html lang="${speech?.language ?? 'en'}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${{ html: STYLE }}</style>
<main>
<h1>${title}</h1>
${body}
</main>
${speech === undefined || address === undefined ? html`` : languageLinks(speech, address)}
${script === undefined ? html`` : html`<script>${{ html: script }}</script>`}
</html>
`;
  rememberLanguage(reply);
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

/** The same page in the other languages: by links, so that it needs no script. */
function languageLinks({ language, texts }: Speech, address: string): Html {
  const [path = '/', query = ''] = address.split('?', 2);
  const items = languages.map((one) => {
    const params = new URLSearchParams(query);
    params.set('lang', one);
    const current = one === language ? html` aria-current="true"` : html``;
    return html`<li><a href="${path}?${params.toString()}" lang="${one}" hreflang="${one}"${current}>${languageNames[one]}</a></li>`;
  });
  return html`<footer><nav aria-label="${texts.page.language}"><ul class="links">
${items}
</ul></nav></footer>`;
}

/** The language that somebody chooses is kept in the browser, also for the pages that follow. */
function rememberLanguage(reply: FastifyReply): void {
  const { query } = reply.request;
  const chosen = typeof query === 'object' && query !== null && 'lang' in query ? query.lang : undefined;
  const language = askedLanguage({ lang: chosen });
  if (language === undefined) return;
  reply.header(
    'set-cookie',
    `${LANGUAGE_COOKIE}=${language}; Path=/; Max-Age=${YEAR_S}; HttpOnly; SameSite=Lax`,
  );
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
