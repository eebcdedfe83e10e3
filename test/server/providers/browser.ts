/** What a browser does between pages: cookies by host, and redirects, of which each is known. */

import assert from 'node:assert/strict';

export interface Page {
  readonly status: number;
  readonly url: string;
  readonly headers: Headers;
  readonly text: string;
}

const MOST_REDIRECTS = 20;

export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();
  /** The addresses that were gone to, the last one last. */
  readonly visited: string[] = [];

  /** Goes to an address, and on to where it leads, but to nothing that `stopAt` is true for. */
  async go(url: string, { stopAt = () => false }: { stopAt?: (url: string) => boolean } = {}): Promise<Page> {
    let page = await this.request(url);
    for (let count = 0; count < MOST_REDIRECTS; count += 1) {
      const location = page.headers.get('location');
      if (page.status < 300 || page.status > 399 || location === null) return page;
      const next = new URL(location, page.url).href;
      if (stopAt(next)) return { ...page, url: next };
      // One after the other: each says where the next one is.
      page = await this.request(next);
    }
    throw new assert.AssertionError({ message: `${url} leads on without end` });
  }

  /** Sends the form of a page. */
  async submit(
    url: string,
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Page> {
    return await this.request(url, {
      method: 'POST',
      body: new URLSearchParams(fields),
      headers: { origin: new URL(url).origin, 'sec-fetch-site': 'same-origin', ...headers },
    });
  }

  /** One request, without going on. */
  async request(url: string, init: RequestInit = {}): Promise<Page> {
    this.visited.push(url);
    const { host } = new URL(url);
    const jar = this.#cookies.get(host) ?? new Map<string, string>();
    this.#cookies.set(host, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = new Headers(init.headers);
    if (cookie !== '') headers.set('cookie', cookie);
    const response = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/max-age=0\b|expires=thu, 01 jan 1970/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    return { status: response.status, url, headers: response.headers, text: await response.text() };
  }

  cookieNames(url: string): string[] {
    return [...(this.#cookies.get(new URL(url).host)?.keys() ?? [])];
  }
}
