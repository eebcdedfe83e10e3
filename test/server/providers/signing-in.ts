/** A server with an identity provider behind it. */

import assert from 'node:assert/strict';
import type { Config } from '#server/config-options.ts';
import { request, TestClient } from '#test/harness/client.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';
import { Browser, type Page } from './browser.ts';
import { IdentityProvider } from './identity-provider.ts';

export interface SignInServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly provider: IdentityProvider;
  readonly url: string;
  /** Begins at the provider's button. Answers where the browser ends. */
  enter(browser: Browser, next?: string): Promise<Page>;
}

/** `member`: members of the provider's option; `options`: of the server. */
export async function startWithProvider(
  member: Record<string, unknown> = {},
  options: TestServerOptions & Partial<Config> = {},
): Promise<SignInServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const provider = await IdentityProvider.start(`${url}/sign-in/provider/staff/callback`);
  const server = await startServer({
    publicBaseurl: url,
    oidcProviders: provider.option(member),
    clientListen: { host: '127.0.0.1', port },
    ...options,
  });
  return {
    server,
    provider,
    url,
    enter: (browser, next = '/account') =>
      browser.go(`${url}/sign-in/provider/staff?next=${encodeURIComponent(next)}`),
    [Symbol.asyncDispose]: async () => {
      await provider[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const CLIENT = 'https://chat.example.org/app?x=1';

/** Signs in by the provider, as a client does that comes by `m.login.sso`. */
export async function signInBy(s: SignInServer, browser = new Browser()): Promise<TestClient> {
  const token = await loginTokenBy(s, browser);
  const body = { type: 'm.login.token', token };
  const answer = await request(s.server, 'POST', '/_matrix/client/v3/login', { body });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return new TestClient(s.server, { ...answer.body, password: '' });
}

/** The login token that a client gets. */
export async function loginTokenBy(s: SignInServer, browser = new Browser()): Promise<string> {
  const path = `/_matrix/client/v3/login/sso/redirect/staff?redirectUrl=${encodeURIComponent(CLIENT)}`;
  const page = await browser.go(`${s.url}${path}`);
  assert.equal(page.status, 200, page.text);
  const sent = await browser.submit(page.url, { form_token: formTokenOf(page.text) });
  const location = new URL(sent.headers.get('location') ?? '');
  return location.searchParams.get('loginToken') ?? '';
}

/** The token of the form in a page. */
export function formTokenOf(text: string): string {
  return /name="form_token" value="([^"]+)"/.exec(text)?.[1] ?? '';
}
