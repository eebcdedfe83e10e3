/** A client that others wrote (openid-client) signs in over TLS, with a person who uses the real pages. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:https';
import { after, before, test } from 'node:test';
import * as client from 'openid-client';
import { Agent, fetch as undiciFetch } from 'undici';
import { createAuthority } from '#test/harness/certificates.ts';
import { register, request, type TestClient } from '#test/harness/client.ts';
import { freePort } from '#test/harness/free-port.ts';
import { actionOf, hiddenOf, METADATA, newDevice, REDIRECT_URI, scopeFor } from '#test/harness/oauth.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let base: string;
let agent: Agent;
let config: client.Configuration;
let proxy: ReturnType<typeof createServer>;

before(async () => {
  const authority = await createAuthority();
  const port = await freePort();
  base = `https://localhost:${port}`;
  server = await startServer({ publicBaseurl: base });
  // As the reverse proxy in front of a server.
  proxy = createServer(await authority.issue(['localhost']), (incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = httpRequest(`${server.clientUrl}${url}`, { ...(method && { method }), headers });
    onward.once('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  }).listen(port, 'localhost');
  await once(proxy, 'listening');
  agent = new Agent({ connect: { ca: authority.cert } });
  alice = await register(server, 'alice');
  config = await client.dynamicClientRegistration(new URL(base), METADATA, client.None(), {
    [client.customFetch]: fetchByTls,
    algorithm: 'oauth2',
  });
});

after(async () => {
  await agent.close();
  proxy.close();
  proxy.closeAllConnections();
  await server[Symbol.asyncDispose]();
});

function fetchByTls(url: string, options: object): Promise<Response> {
  return undiciFetch(url, { ...options, dispatcher: agent }) as unknown as Promise<Response>;
}

/** A browser with cookies, that follows redirects as long as they stay on the server. */
class TlsBrowser {
  readonly #cookies = new Map<string, string>();
  /** Where it is now. */
  url = '';
  page = '';

  async open(url: string, form?: Record<string, string>): Promise<void> {
    const answer = await fetchByTls(url, {
      method: form === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: {
        cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        'sec-fetch-site': form === undefined ? 'none' : 'same-origin',
        ...(form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(form !== undefined && { body: new URLSearchParams(form).toString() }),
    });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      this.#cookies.set(name, value);
    }
    this.page = await answer.text();
    this.url = url;
    const location = answer.headers.get('location');
    if (location === null) return;
    const next = new URL(location, url);
    if (next.origin === new URL(base).origin) await this.open(next.href);
    else this.url = next.href;
  }

  /** Fills the form of the page in, and sends it. */
  submit(fields: Record<string, string>): Promise<void> {
    return this.open(new URL(actionOf(this.page), this.url).href, { ...hiddenOf(this.page), ...fields });
  }

  /** Signs alice in on the page that it is on. */
  signIn(): Promise<void> {
    return this.submit({ name: 'alice', password: alice.password });
  }
}

async function whoami(token: string) {
  const { body } = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
  return body;
}

test('discovery, registration, code with PKCE through the sign-in and consent pages, refresh, revocation', async () => {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const deviceId = newDevice();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    scope: scopeFor(deviceId),
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
  });
  const browser = new TlsBrowser();
  await browser.open(url.href);
  assert.equal(new URL(browser.url).pathname, '/sign-in');
  await browser.signIn();
  assert.equal(new URL(browser.url).pathname, '/oauth2/authorize', browser.page);
  await browser.submit({ decision: 'allow' });
  assert.ok(browser.url.startsWith(REDIRECT_URI), browser.url);
  const tokens = await client.authorizationCodeGrant(config, new URL(browser.url), {
    pkceCodeVerifier: verifier,
    expectedState: state,
  });
  assert.deepEqual(await whoami(tokens.access_token), {
    user_id: alice.userId,
    device_id: deviceId,
    is_guest: false,
  });
  const refreshed = await client.refreshTokenGrant(config, String(tokens.refresh_token));
  assert.equal((await whoami(refreshed.access_token)).device_id, deviceId);
  await client.tokenRevocation(config, String(refreshed.refresh_token));
  assert.equal((await whoami(refreshed.access_token)).errcode, 'M_UNKNOWN_TOKEN');
});

test('the device grant, allowed in a browser elsewhere', async () => {
  const deviceId = newDevice();
  const started = await client.initiateDeviceAuthorization(config, { scope: scopeFor(deviceId) });
  const browser = new TlsBrowser();
  await browser.open(String(started.verification_uri_complete));
  await browser.signIn();
  assert.ok(browser.page.includes(started.user_code), browser.page);
  await browser.submit({ decision: 'allow' });
  const tokens = await client.pollDeviceAuthorizationGrant(config, { ...started, interval: 0 });
  assert.equal((await whoami(tokens.access_token)).device_id, deviceId);
});
