/** https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { register, request, type TestClient } from '#test/harness/client.ts';
import {
  answerIn,
  authorizePath,
  Browser,
  codeFor,
  exchange,
  ISSUER,
  newDevice,
  registerClient,
  scopeFor,
  signedInBrowser,
  signInByOAuth,
  startOAuthServer,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let clientId: string;
let browser: Browser;

before(async () => {
  server = await startOAuthServer();
  alice = await register(server, 'alice');
  clientId = await registerClient(server);
  browser = await signedInBrowser(server, alice);
});

after(() => server[Symbol.asyncDispose]());

test('a user who lets a client in gives it a code, for which it gets tokens and a device', async () => {
  const deviceId = newDevice();
  const path = authorizePath(clientId, { scope: scopeFor(deviceId) });
  const { status, headers } = await browser.decide(path, 'allow');
  assert.equal(status, 303);
  const answer = answerIn(headers);
  assert.deepEqual([answer.get('state'), answer.get('iss')], ['a state', ISSUER]);
  const tokens = await exchange(server, { client_id: clientId, code: String(answer.get('code')) });
  assert.equal(tokens.status, 200);
  assert.deepEqual(Object.keys(tokens.body).sort(), [
    'access_token',
    'expires_in',
    'refresh_token',
    'scope',
    'token_type',
  ]);
  const { token_type: type, expires_in: expiresIn, scope, access_token: accessToken } = tokens.body;
  assert.deepEqual([type, expiresIn, scope], ['Bearer', 3_600, scopeFor(deviceId)]);
  assert.deepEqual(
    [tokens.headers.get('cache-control'), tokens.headers.get('pragma')],
    ['no-store', 'no-cache'],
  );
  const me = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token: accessToken });
  assert.deepEqual(me.body, { user_id: alice.userId, device_id: deviceId, is_guest: false });
  const device = await alice.get(`/devices/${deviceId}`);
  assert.equal(device.display_name, 'An App');
});

test('who is not signed in comes to the sign-in page, which leads back to the same request', async () => {
  const path = authorizePath(clientId, { login_hint: 'mxid:@alice:kurir.test' });
  const { status, headers } = await new Browser(server).get(path);
  assert.equal(status, 303);
  const to = new URL(headers.get('location') ?? '', ISSUER);
  assert.equal(to.pathname, '/sign-in');
  assert.equal(to.searchParams.get('login_hint'), 'mxid:@alice:kurir.test');
  const next = new URL(to.searchParams.get('next') ?? '', ISSUER);
  assert.deepEqual([...next.searchParams], [...new URL(path, ISSUER).searchParams]);
});

test('prompt=create and prompt=login send to the sign-in page once, also who is signed in', async () => {
  for (const prompt of ['create', 'login']) {
    const { status, headers } = await browser.get(authorizePath(clientId, { prompt: `${prompt} consent` }));
    assert.equal(status, 303);
    const to = new URL(headers.get('location') ?? '', ISSUER);
    assert.equal(to.searchParams.get('prompt'), prompt);
    const back = await browser.get(to.searchParams.get('next') ?? '');
    assert.equal(back.status, 200);
  }
});

test('prompt=none is answered with what the user would have to do', async () => {
  const signedIn = await browser.get(authorizePath(clientId, { prompt: 'none' }));
  assert.equal(signedIn.status, 303);
  assert.equal(answerIn(signedIn.headers).get('error'), 'consent_required');
  const nobody = await new Browser(server).get(authorizePath(clientId, { prompt: 'none' }));
  assert.equal(nobody.status, 400);
  assert.match(nobody.body, /error=login_required/);
});

test('who says no is sent back with access_denied', async () => {
  const { headers } = await browser.decide(authorizePath(clientId), 'deny');
  const answer = answerIn(headers);
  assert.deepEqual(
    [answer.get('error'), answer.get('state'), answer.get('iss'), answer.get('code')],
    ['access_denied', 'a state', ISSUER, null],
  );
});

test('response_mode=fragment puts the answer into the fragment, query into the query, which stays', async () => {
  const fragment = await browser.decide(authorizePath(clientId, { response_mode: 'fragment' }), 'allow');
  assert.match(fragment.headers.get('location') ?? '', /^https:\/\/app\.example\.org\/callback#code=kac_/);
  const uri = 'https://app.example.org/callback?a=b';
  const withQuery = await registerClient(server, {
    client_uri: 'https://example.org/',
    redirect_uris: [uri],
  });
  const path = authorizePath(withQuery, { redirect_uri: uri, response_mode: undefined });
  const query = await browser.decide(path, 'allow');
  assert.match(query.headers.get('location') ?? '', /^https:\/\/app\.example\.org\/callback\?a=b&code=kac_/);
});

test('a code is good for a minute and for one use; a second use ends what the first gave', async () => {
  let now = Date.now();
  await using timed = await startOAuthServer({ clock: { now: () => now } });
  const bob = await register(timed, 'bob');
  const client = await registerClient(timed);
  const bobs = await signedInBrowser(timed, bob);
  const late = await codeFor(bobs, authorizePath(client));
  now += 60_000;
  const tooLate = await exchange(timed, { client_id: client, code: late });
  assert.deepEqual([tooLate.status, tooLate.body.error], [400, 'invalid_grant']);
  const code = await codeFor(bobs, authorizePath(client));
  now += 59_999;
  const first = await exchange(timed, { client_id: client, code });
  assert.equal(first.status, 200);
  now += 3_600_000 / 2;
  const again = await exchange(timed, { client_id: client, code });
  assert.deepEqual([again.status, again.body.error], [400, 'invalid_grant']);
  const whoami = '/_matrix/client/v3/account/whoami';
  const ended = await request(timed, 'GET', whoami, { token: first.body.access_token });
  assert.deepEqual([ended.status, ended.body.soft_logout], [401, false]);
  assert.equal((await bob.get('/devices')).devices.length, 1);
});

test('of two uses of a code that arrive together none keeps tokens', async () => {
  const code = await codeFor(browser, authorizePath(clientId));
  const answers = await Promise.all([1, 2].map(() => exchange(server, { client_id: clientId, code })));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
  for (const { body } of answers) {
    if (body.access_token === undefined) continue;
    const me = await request(server, 'GET', '/_matrix/client/v3/account/whoami', {
      token: body.access_token,
    });
    assert.equal(me.status, 401);
  }
});

test('a device that is signed in again by its id keeps its keys, and its earlier tokens end', async () => {
  const first = await signInByOAuth(server, alice);
  const second = await signInByOAuth(server, alice, first.deviceId);
  const whoami = '/_matrix/client/v3/account/whoami';
  const answers = await Promise.all(
    [first, second].map(({ tokens }) => request(server, 'GET', whoami, { token: tokens.access_token })),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [401, 200],
  );
  const page = await browser.get(authorizePath(clientId, { scope: scopeFor(first.deviceId) }));
  assert.match(page.body, /takes the place of a device/);
});

test('the scopes of before Matrix 1.15 are granted as they are asked for; what is not known is left out', async () => {
  const unstable = 'urn:matrix:org.matrix.msc2967.client:';
  const deviceId = newDevice();
  const granted = `${unstable}api:* ${unstable}device:${deviceId}`;
  const path = authorizePath(clientId, { scope: `openid ${granted} urn:synapse:admin:*` });
  const code = await codeFor(browser, path);
  const { body } = await exchange(server, { client_id: clientId, code });
  assert.equal(body.scope, granted);
  const token = body.access_token;
  const me = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
  assert.equal(me.body.device_id, deviceId);
});
