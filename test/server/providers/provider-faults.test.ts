import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { test } from 'node:test';
import * as users from '#storage/users.ts';
import { startServer } from '#test/harness/server.ts';
import { Browser } from './browser.ts';
import { IdentityProvider } from './identity-provider.ts';
import { signInBy, startWithProvider } from './signing-in.ts';

const PERSON = { sub: 'p-1', preferred_username: 'ann' } as const;
const CALLBACK = '/sign-in/provider/staff/callback';

test('while a provider is down its sign-in says so, who is signed in goes on, and afterwards it works again', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const ann = await signInBy(s);
  await s.server.restart();
  await s.provider.down();
  const page = await s.enter(new Browser());
  assert.equal(page.status, 502);
  assert.match(page.text, /does not answer/);
  assert.match(page.text, /href="\/sign-in\/provider\/staff\?next=/);
  assert.equal((await ann.get('/account/whoami')).user_id, '@ann:kurir.test');
  await s.provider.up();
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  assert.equal((await (await signInBy(s)).get('/account/whoami')).user_id, '@ann:kurir.test');
});

const wrongAnswers: readonly (readonly [string, (response: ServerResponse) => void])[] = [
  [
    'is not JSON',
    (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('<html>'),
  ],
  ['is an error', (response) => response.writeHead(500).end('no')],
  [
    'is for another issuer',
    (response) =>
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ issuer: 'https://evil.example' })),
  ],
  ['leads elsewhere', (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
  [
    'breaks off',
    (response) =>
      void response.writeHead(200, { 'content-length': '100' }).write('{', () => response.destroy()),
  ],
  [
    'is of 10 MB',
    (response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ padding: 'x'.repeat(10 * 1024 * 1024) }));
    },
  ],
];

test('metadata that are not what they should be are told as a fault of the provider', async () => {
  for (const [what, answer] of wrongAnswers) {
    // One server after the other: what is known of a provider is kept for a while.
    await using s = await startWithProvider();
    s.provider.instead.set('/.well-known/openid-configuration', (_, response) => answer(response));
    const page = await s.enter(new Browser());
    assert.ok([400, 502].includes(page.status), `${what}: ${page.status}`);
    assert.match(page.text, /Try again/);
  }
});

test('a token endpoint that fails, or says no, lets nobody in', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  for (const [what, answer] of wrongAnswers) {
    s.provider.instead.set('/token', (_, response) => answer(response));
    const page = await s.enter(new Browser());
    assert.ok([400, 502].includes(page.status), `${what}: ${page.status}`);
  }
  s.provider.instead.clear();
  assert.equal(await users.of(s.server.ctx.db, '@ann:kurir.test'), undefined);
  await signInBy(s);
});

test('a provider that takes a connection and says nothing is given up in time', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const address = silent.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await using provider = await IdentityProvider.start('http://127.0.0.1:1/sign-in/provider/staff/callback');
  await using server = await startServer({
    publicBaseurl: 'http://127.0.0.1:1',
    oidcProviders: provider.option({ issuer: `http://127.0.0.1:${port}` }),
  });
  const page = await new Browser().go(`${server.clientUrl}/sign-in/provider/staff`);
  assert.equal(page.status, 502);
  silent.close();
});

test('a person whom the provider refuses is not signed in', async () => {
  await using s = await startWithProvider();
  const page = await s.enter(new Browser());
  assert.equal(page.status, 403);
  assert.match(page.text, /did not sign you in/);
});

/** The address by which the provider sends the browser back, which has not been gone to. */
async function callbackUrl(url: string, browser: Browser): Promise<string> {
  const { url: callback } = await browser.go(`${url}/sign-in/provider/staff?next=%2Faccount`, {
    stopAt: (next) => next.includes(CALLBACK),
  });
  return callback;
}

test('a callback that is not of this browser, of this provider, whole, or the first lets nobody in', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const browser = new Browser();
  const callback = new URL(await callbackUrl(s.url, browser));
  const changed = (change: (query: URLSearchParams) => void): string => {
    const url = new URL(callback);
    change(url.searchParams);
    return url.href;
  };
  // Nobody's cookie: a link that an attacker has sent (login CSRF).
  assert.equal((await new Browser().go(callback.href)).status, 400);
  const wrong: readonly (readonly [string, string])[] = [
    ['no state', changed((query) => query.delete('state'))],
    ['state of somebody else', changed((query) => query.set('state', 'x'.repeat(32)))],
    ['state twice', changed((query) => query.append('state', callback.searchParams.get('state') ?? ''))],
    ['state too short', changed((query) => query.set('state', 'x'))],
    ['another provider', callback.href.replace('/staff/', '/other/')],
  ];
  for (const [what, url] of wrong) {
    assert.ok([400, 404].includes((await browser.go(url)).status), what);
  }
  const page = await browser.go(callback.href);
  assert.equal(new URL(page.url).pathname, '/account');
  // Again: the code and the state are used up.
  assert.equal((await browser.go(callback.href)).status, 400);
});

test('a code or issuer that is missing, wrong or repeated lets nobody in', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const changes: readonly (readonly [string, (query: URLSearchParams) => void])[] = [
    ['no code', (query) => query.delete('code')],
    ['wrong code', (query) => query.set('code', 'stolen')],
    ['code twice', (query) => query.append('code', 'other')],
    // Mix-up: RFC 9207, 2.4 "Clients MUST ... reject the authorization response" of another issuer.
    ['another issuer', (query) => query.set('iss', 'https://evil.example')],
    ['no issuer', (query) => query.delete('iss')],
    ['issuer twice', (query) => query.append('iss', 'https://evil.example')],
    ['an error as well', (query) => query.set('error', 'access_denied')],
  ];
  for (const [what, change] of changes) {
    const browser = new Browser();
    const callback = new URL(await callbackUrl(s.url, browser));
    change(callback.searchParams);
    const page = await browser.go(callback.href);
    assert.ok([400, 403].includes(page.status), `${what}: ${page.status}`);
    assert.deepEqual(browser.cookieNames(s.url), [], what);
  }
  assert.equal(await users.of(s.server.ctx.db, '@ann:kurir.test'), undefined);
});

test('an ID token for another request, or of another key, lets nobody in', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const tokens = async (
    claims: Record<string, unknown>,
    header: Record<string, unknown> = {},
  ): Promise<number> => {
    const idToken = await s.provider.logoutToken(
      { sub: 'p-1', nonce: 'n', ...claims },
      { typ: 'JWT', ...header },
    );
    s.provider.instead.set('/token', (_, response) => {
      const body = { access_token: 'a', token_type: 'Bearer', id_token: idToken };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    return (await s.enter(new Browser())).status;
  };
  assert.equal(await tokens({}), 400, 'another nonce');
  assert.equal(await tokens({ nonce: undefined }), 400, 'no nonce');
  assert.equal(await tokens({ aud: 'other' }), 400, 'another client');
  assert.equal(await tokens({}, { kid: 'other' }), 400, 'another key');
  assert.equal(await users.of(s.server.ctx.db, '@ann:kurir.test'), undefined);
});

test('where a person goes on after signing in is a path of this server', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  for (const next of ['https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)']) {
    const page = await s.enter(new Browser(), next);
    assert.equal(new URL(page.url).pathname, '/account', next);
    assert.equal(new URL(page.url).origin, s.url, next);
  }
  assert.equal((await new Browser().go(`${s.url}/sign-in/provider/nobody`)).status, 404);
});

test('no code, token or secret of a sign-in is in a line of the log', async () => {
  const lines: string[] = [];
  await using s = await startWithProvider({}, { logTo: (line) => lines.push(line) });
  s.provider.person = PERSON;
  const browser = new Browser();
  await signInBy(s, browser);
  const callback = browser.visited.find((url) => url.includes(CALLBACK)) ?? '';
  const code = new URL(callback).searchParams.get('code') ?? '';
  assert.ok(code.length > 10 && lines.length > 0);
  for (const secret of [code, 'the secret of the client']) {
    assert.ok(!lines.some((line) => line.includes(secret)), secret);
  }
});
