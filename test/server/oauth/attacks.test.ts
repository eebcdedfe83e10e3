/** The attacks of RFC 9700 (OAuth 2.0 Security Best Current Practice), section 4, one by one. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hashToken } from '#keys/tokens.ts';
import { register, request, type TestClient } from '#test/harness/client.ts';
import {
  actionOf,
  answerIn,
  authorizePath,
  Browser,
  codeFor,
  exchange,
  hiddenOf,
  ISSUER,
  METADATA,
  REDIRECT_URI,
  refreshByOAuth,
  registerClient,
  sendForm,
  signedInBrowser,
  signInByOAuth,
  startOAuthServer,
  token,
  tryRegister,
  VERIFIER,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

const WHOAMI = '/_matrix/client/v3/account/whoami';
const lines: string[] = [];

let server: TestServer;
let alice: TestClient;
let mallory: TestClient;
let clientId: string;
let browser: Browser;

before(async () => {
  server = await startOAuthServer({ logTo: (line) => lines.push(line) });
  alice = await register(server, 'alice');
  mallory = await register(server, 'mallory');
  clientId = await registerClient(server);
  browser = await signedInBrowser(server, alice);
});

after(() => server[Symbol.asyncDispose]());

test('4.1 insufficient redirect URI validation: only what is registered, to the letter, is gone on to', async () => {
  const uris = [
    `${REDIRECT_URI}/`,
    `${REDIRECT_URI}?a=b`,
    `${REDIRECT_URI}#a`,
    `${REDIRECT_URI}/../evil`,
    REDIRECT_URI.toUpperCase(),
    REDIRECT_URI.replace('app.', ''),
    REDIRECT_URI.replace('https', 'http'),
    REDIRECT_URI.replace('/callback', ':444/callback'),
    `https://evil.test/${REDIRECT_URI}`,
    'https://app.example.org@evil.test/callback',
    'https://app.example.org.evil.test/callback',
    'javascript:alert(1)',
    '',
    undefined,
  ];
  for (const uri of uris) {
    const { status, headers, body } = await browser.get(authorizePath(clientId, { redirect_uri: uri }));
    assert.equal(status, 400, uri);
    assert.equal(headers.get('location'), null);
    assert.equal(/href="[^"]*(evil|example\.org|javascript)/.test(body), false, uri);
  }
});

test('4.1 the port of the loopback interface is the client’s to choose, and nothing else of it', async () => {
  const native = await registerClient(server, {
    ...{ client_uri: 'https://example.org/', application_type: 'native' },
    redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'org.example.app:/callback'],
  });
  const open = async (uri: string) =>
    (await browser.get(authorizePath(native, { redirect_uri: uri }))).status;
  const right = [
    'http://127.0.0.1:51234/callback',
    'http://127.0.0.1/callback',
    'http://[::1]:1/callback',
    'org.example.app:/callback',
  ];
  for (const uri of right) assert.equal(await open(uri), 200, uri);
  const wrong = [
    'http://127.0.0.1:51234/other',
    'http://localhost:51234/callback',
    'https://127.0.0.1:51234/callback',
    'http://127.0.0.1:51234@evil.test/callback',
    'http://127.0.0.1:99999/callback',
    'org.example.app://callback',
  ];
  for (const uri of wrong) assert.equal(await open(uri), 400, uri);
});

test('4.2 leakage through Referer: pages and redirects tell no other site their address, and load nothing', async () => {
  const path = authorizePath(clientId);
  const page = await browser.get(path);
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'/);
  assert.equal(/<(img|script|link|iframe)\b/.test(page.body), false);
  const { headers } = await browser.decide(path, 'allow');
  assert.equal(headers.get('referrer-policy'), 'no-referrer');
});

test('4.3 leakage by the history of the browser: a code is used up, no token is ever in an address', async () => {
  const path = authorizePath(clientId);
  const { headers } = await browser.decide(path, 'allow');
  assert.deepEqual([...answerIn(headers).keys()], ['code', 'state', 'iss']);
  assert.equal(headers.get('cache-control'), 'no-store');
  for (const type of ['token', 'id_token', 'code token', 'none']) {
    const refused = await browser.get(authorizePath(clientId, { response_type: type }));
    assert.equal(answerIn(refused.headers).get('error'), 'unsupported_response_type');
  }
});

test('4.4 mix-up: each answer says which server it is from', async () => {
  for (const decision of ['allow', 'deny'] as const) {
    const { headers } = await browser.decide(authorizePath(clientId), decision);
    assert.equal(answerIn(headers).get('iss'), ISSUER);
  }
  const refused = await browser.get(authorizePath(clientId, { scope: 'x' }));
  assert.equal(answerIn(refused.headers).get('iss'), ISSUER);
});

test('4.5 code injection: a code is good only for who began the request, by client, redirect URI and verifier', async () => {
  const other = await registerClient(server, { ...METADATA, client_name: 'Evil' });
  const code = await codeFor(browser, authorizePath(clientId));
  const wrong = [
    { client_id: other },
    { redirect_uri: 'https://example.org/other' },
    { code_verifier: `${VERIFIER}x` },
    { code_verifier: 'short' },
    { code_verifier: VERIFIER.toUpperCase() },
  ];
  for (const changed of wrong) {
    const { status, body } = await exchange(server, { client_id: clientId, code, ...changed });
    assert.deepEqual([status, body.error], [400, 'invalid_grant'], JSON.stringify(changed));
  }
  assert.equal((await exchange(server, { client_id: clientId, code })).status, 200);
});

test('4.6 access token injection: the client is told whose token it has by the server alone', async () => {
  const { tokens } = await signInByOAuth(server, alice);
  const { body } = await request(server, 'GET', WHOAMI, { token: tokens.access_token });
  assert.equal(body.user_id, alice.userId);
});

test('4.7 CSRF: the client’s state comes back, and consent needs the token of the person’s own form', async () => {
  const path = authorizePath(clientId, { state: 'a&b=c d/ä'.replace('ä', '~') });
  const page = await browser.get(path);
  const fields = { ...hiddenOf(page.body), decision: 'allow' };
  const action = actionOf(page.body);
  const theirs = await (await signedInBrowser(server, mallory)).get(path);
  const forged: [Record<string, string>, Record<string, string>][] = [
    [{ decision: 'allow' }, {}],
    [{ ...fields, form_token: 'x' }, {}],
    [{ ...fields, ...hiddenOf(theirs.body) }, {}],
    [fields, { 'sec-fetch-site': 'cross-site' }],
    [fields, { 'sec-fetch-site': 'same-site' }],
  ];
  for (const [body, headers] of forged) {
    const answer = await browser.post(action, body, headers);
    assert.deepEqual([answer.status, answer.headers.get('location')], [403, null]);
  }
  const answer = await browser.post(action, fields);
  assert.equal(answerIn(answer.headers).get('state'), 'a&b=c d/~');
  const nobody = await new Browser(server).post(action, fields);
  assert.match(nobody.headers.get('location') ?? '', /^\/sign-in\?/);
});

test('4.8 PKCE downgrade: no request without a challenge of S256, no code without its verifier', async () => {
  const weak = [
    { code_challenge: undefined },
    { code_challenge: '' },
    { code_challenge_method: undefined },
    { code_challenge_method: 'plain' },
    { code_challenge: 'short' },
    { code_challenge: undefined, code_challenge_method: undefined },
  ];
  for (const changed of weak) {
    const { status, headers } = await browser.get(authorizePath(clientId, changed));
    assert.equal(status, 303);
    assert.equal(answerIn(headers).get('error'), 'invalid_request');
  }
  const code = await codeFor(browser, authorizePath(clientId));
  for (const verifier of [undefined, '']) {
    const { body } = await exchange(server, { client_id: clientId, code, code_verifier: verifier });
    assert.equal(body.error, 'invalid_request');
  }
});

test('4.9 leakage at the server: tokens and codes are stored as hashes, and stand in no line of the log', async () => {
  const path = authorizePath(clientId);
  const code = await codeFor(browser, path);
  const { body } = await exchange(server, { client_id: clientId, code });
  const refreshed = await refreshByOAuth(server, { clientId, refreshToken: body.refresh_token });
  const device = await sendForm(server, '/oauth2/device_authorization', {
    client_id: clientId,
    scope: body.scope,
  });
  await token(server, { grant_type: 'authorization_code', code, client_id: clientId });
  await sendForm(server, '/oauth2/revoke', { token: refreshed.body.access_token });
  const secrets = [
    code,
    VERIFIER,
    body.access_token,
    body.refresh_token,
    refreshed.body.access_token,
    refreshed.body.refresh_token,
    device.body.device_code,
    device.body.user_code,
  ];
  assert.ok(lines.some((line) => line.includes('/oauth2/token')));
  for (const secret of secrets) {
    assert.equal(typeof secret, 'string');
    assert.equal(lines.join('').includes(secret), false);
  }
  const tables = ['oauth_codes', 'access_tokens', 'refresh_tokens', 'oauth_device_grants'];
  for (const table of tables) {
    const rows = await server.ctx.db.write('test.rows', (tx) =>
      tx.all<[], object>({ name: '', text: `SELECT * FROM ${table}` }),
    );
    const text = JSON.stringify(rows);
    for (const secret of secrets) assert.equal(text.includes(secret), false, table);
  }
  assert.notEqual(hashToken(code), code);
});

test('4.10 misuse of stolen access tokens: they are short-lived, and end with their session', async () => {
  const { tokens } = await signInByOAuth(server, alice);
  assert.equal(tokens.expires_in, 3_600);
  await sendForm(server, '/oauth2/revoke', { token: tokens.refresh_token });
  assert.equal((await request(server, 'GET', WHOAMI, { token: tokens.access_token })).status, 401);
});

test('4.11 open redirector: nobody is sent on by a request that is wrong, before they have signed in', async () => {
  const stranger = new Browser(server);
  const wrong = [{ scope: 'x' }, { response_type: 'x' }, { prompt: 'none' }, { code_challenge: undefined }];
  for (const changed of wrong) {
    const { status, headers, body } = await stranger.get(authorizePath(clientId, changed));
    assert.deepEqual([status, headers.get('location')], [400, null]);
    assert.match(body, /<a href="https:\/\/app\.example\.org\/callback\?error=/);
    assert.match(body, /app\.example\.org<\/a>/);
  }
  const signedIn = await browser.get(authorizePath(clientId, { scope: 'x' }));
  assert.deepEqual([signedIn.status, answerIn(signedIn.headers).get('error')], [303, 'invalid_scope']);
});

test('4.12 redirect with 307: what a person sends is not sent on', async () => {
  for (const decision of ['allow', 'deny'] as const) {
    assert.equal((await browser.decide(authorizePath(clientId), decision)).status, 303);
  }
});

test('4.13 reverse proxies: headers that a client sets make no address of this server', async () => {
  const headers = {
    'x-forwarded-host': 'evil.test',
    'x-forwarded-proto': 'http',
    forwarded: 'host=evil.test',
  };
  const page = await browser.get(authorizePath(clientId), headers);
  assert.equal(page.body.includes('evil.test'), false);
  const metadata = await browser.get('/_matrix/client/v1/auth_metadata', headers);
  assert.equal(metadata.body.issuer, ISSUER);
});

test('4.14 refresh tokens are bound to their client, and rotate', async () => {
  const { tokens } = await signInByOAuth(server, alice);
  const other = await registerClient(server, { ...METADATA, client_name: 'Evil' });
  const stolen = { clientId: other, refreshToken: tokens.refresh_token };
  assert.equal((await refreshByOAuth(server, stolen)).body.error, 'invalid_grant');
  const next = await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token });
  assert.notEqual(next.body.refresh_token, tokens.refresh_token);
});

test('4.15 a client that calls itself like a user is none: its id is the server’s to choose', async () => {
  const { body } = await tryRegister(server, {
    ...METADATA,
    client_id: alice.userId,
    client_name: alice.userId,
  });
  assert.match(body.client_id, /^koc_/);
  const { status, body: refused } = await token(server, {
    grant_type: 'client_credentials',
    client_id: clientId,
  });
  assert.deepEqual([status, refused.error], [400, 'unsupported_grant_type']);
});

test('4.16 clickjacking: no other site can frame a page, and forms lead nowhere but to the client', async () => {
  const { headers } = await browser.get(authorizePath(clientId));
  assert.equal(headers.get('x-frame-options'), 'DENY');
  const policy = headers.get('content-security-policy') ?? '';
  assert.match(policy, /frame-ancestors 'none'/);
  assert.match(policy, /form-action 'self' https:\/\/app\.example\.org;/);
});

test('4.17 in-browser communication: no answer is posted to a window, and no site may call the endpoint', async () => {
  for (const mode of ['web_message', 'form_post', 'jwt']) {
    const { headers } = await browser.get(authorizePath(clientId, { response_mode: mode }));
    assert.equal(answerIn(headers).get('error'), 'invalid_request');
  }
  const { headers } = await browser.get(authorizePath(clientId), { origin: 'https://app.example.org' });
  assert.equal(headers.get('access-control-allow-origin'), null);
});
