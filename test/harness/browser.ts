/** A browser without a window: keeps cookies, follows redirects, fills in forms, runs no script. */

import assert from 'node:assert/strict';
import type { Target } from './client.ts';

export interface ShownPage {
  readonly status: number;
  /** The path and query of the page, or the whole address where a redirect leads elsewhere. */
  readonly at: string;
  readonly headers: Headers;
  readonly text: string;
  readonly title: string;
}

export interface BrowserOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** The address by which the server knows itself; what it redirects there is followed. */
  readonly base?: string;
}

const MOST_REDIRECTS = 10;

export class Browser {
  readonly #server: Target;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #base: string | undefined;
  readonly cookies = new Map<string, string>();

  constructor(server: Target, { headers = {}, base }: BrowserOptions = {}) {
    this.#server = server;
    this.#headers = headers;
    this.#base = base;
  }

  get(path: string): Promise<ShownPage> {
    return this.#go('GET', path);
  }

  /** Sends the form of a page whose action ends so (the only one, unless told), with what is filled in. */
  submit(
    page: ShownPage,
    fields: Readonly<Record<string, string>> = {},
    { action = '', headers = {} }: { action?: string; headers?: Readonly<Record<string, string>> } = {},
  ): Promise<ShownPage> {
    const form = formOf(page, action);
    return this.#go('POST', form.action, {
      headers,
      body: new URLSearchParams({ ...form.hidden, ...fields }),
    });
  }

  /** Posts fields as a form would, wherever they come from. */
  post(
    path: string,
    fields: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ShownPage> {
    return this.#go('POST', path, { headers, body: new URLSearchParams(fields) });
  }

  async #go(
    method: string,
    path: string,
    { headers = {}, body }: { headers?: Readonly<Record<string, string>>; body?: URLSearchParams } = {},
  ): Promise<ShownPage> {
    let at = path;
    let response = await this.#fetch(method, at, { headers, ...(body !== undefined && { body }) });
    for (let redirects = 0; response.status >= 300 && response.status < 400; redirects++) {
      assert.ok(redirects < MOST_REDIRECTS, `${path} leads round and round`);
      const location = response.headers.get('location') ?? '';
      at =
        this.#base !== undefined && location.startsWith(this.#base)
          ? location.slice(this.#base.length)
          : location;
      if (!at.startsWith('/'))
        return { status: response.status, at, headers: response.headers, text: '', title: '' };
      // One leads to the other.
      response = await this.#fetch('GET', at, { headers: {} });
    }
    const text = await response.text();
    const [, title = ''] = /<title>([^<]*)<\/title>/.exec(text) ?? [];
    return { status: response.status, at, headers: response.headers, text, title: unescaped(title) };
  }

  async #fetch(
    method: string,
    path: string,
    { headers, body }: { headers: Readonly<Record<string, string>>; body?: URLSearchParams },
  ): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(`${this.#server.clientUrl}${path}`, {
      ...{ method, redirect: 'manual' },
      headers: { ...this.#headers, ...(cookie !== '' && { cookie }), ...headers },
      ...(body !== undefined && { body }),
    });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  #keep(line: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (/max-age=0(;|$)/i.test(line)) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

/** The action and the hidden fields of a form of a page. */
export function formOf(
  page: ShownPage,
  action = '',
): { readonly action: string; readonly hidden: Record<string, string> } {
  const forms = [
    ...page.text.matchAll(/<form method="post"(?: action="([^"]*)")?([^>]*)>([\s\S]*?)<\/form>/g),
  ];
  const found = forms.filter(([, to = page.at]) => to.split('?', 1)[0]?.endsWith(action));
  const [form] = found;
  assert.ok(form !== undefined, `${page.at} (${page.status}) has no form to ${action}: ${page.text}`);
  const [, to = page.at, , inner = ''] = form;
  const inputs = [...inner.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)];
  return {
    action: unescaped(to),
    hidden: Object.fromEntries(inputs.map(([, name = '', value = '']) => [name, unescaped(value)])),
  };
}

function unescaped(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
}
