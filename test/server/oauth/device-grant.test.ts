/** https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-flow and RFC 8628 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { register, request, type TestClient } from '#test/harness/client.ts';
import {
  actionOf,
  Browser,
  hiddenOf,
  METADATA,
  newDevice,
  type OAuthAnswer,
  registerClient,
  scopeFor,
  sendForm,
  signedInBrowser,
  startOAuthServer,
  token,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

const GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const MINUTE = 60_000;

let server: TestServer;
let alice: TestClient;
let clientId: string;
let browser: Browser;
let now = Date.now();

before(async () => {
  server = await startOAuthServer({ clock: { now: () => now } });
  alice = await register(server, 'alice');
  clientId = await registerClient(server);
  browser = await signedInBrowser(server, alice);
});

after(() => server[Symbol.asyncDispose]());

function begin(fields: Record<string, string> = {}, to = server): Promise<OAuthAnswer> {
  const asked = { client_id: clientId, scope: scopeFor(newDevice()), ...fields };
  return sendForm(to, '/oauth2/device_authorization', asked);
}

function poll(deviceCode: string, changed: Record<string, string | undefined> = {}): Promise<OAuthAnswer> {
  return token(server, { grant_type: GRANT, client_id: clientId, device_code: deviceCode, ...changed });
}

/** The part of the address that browsers ask this server for. */
function pathOf(url: string): string {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}

async function outcome(deviceCode: string): Promise<string> {
  now += 6_000;
  const { body } = await poll(deviceCode);
  return body.error ?? 'tokens';
}

test('a device is signed in after somebody has compared the code and allowed it elsewhere', async () => {
  const deviceId = newDevice();
  const { status, headers, body } = await begin({ scope: scopeFor(deviceId) });
  assert.equal(status, 200);
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.match(body.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
  assert.deepEqual(
    [body.verification_uri, body.verification_uri_complete, body.expires_in, body.interval],
    [
      'https://matrix.kurir.test/oauth2/device',
      `https://matrix.kurir.test/oauth2/device?user_code=${body.user_code}`,
      600,
      5,
    ],
  );
  assert.equal(await outcome(body.device_code), 'authorization_pending');
  const path = pathOf(body.verification_uri_complete);
  const page = await browser.get(path);
  assert.equal(page.status, 200);
  for (const shown of [body.user_code, 'An App', 'example.org', alice.userId, '127.0.0.1']) {
    assert.ok(page.body.includes(shown), shown);
  }
  assert.equal(await outcome(body.device_code), 'authorization_pending');
  assert.equal((await browser.decide(path, 'allow')).status, 200);
  const answer = await poll(body.device_code);
  assert.equal(answer.status, 200);
  assert.deepEqual(
    [answer.body.token_type, answer.body.expires_in, answer.body.scope],
    ['Bearer', 3_600, scopeFor(deviceId)],
  );
  const me = await request(server, 'GET', '/_matrix/client/v3/account/whoami', {
    token: answer.body.access_token,
  });
  assert.deepEqual([me.body.user_id, me.body.device_id], [alice.userId, deviceId]);
  assert.equal((await poll(body.device_code)).body.error, 'invalid_grant');
  assert.equal((await browser.get(path)).status, 400);
});

test('the code may be typed in any case, with or without what stands between', async () => {
  const { body } = await begin();
  const entry = await browser.get('/oauth2/device');
  assert.equal(entry.status, 200);
  const typed = ` ${body.user_code.toLowerCase().replace('-', ' ')} `;
  const fields = { ...hiddenOf(entry.body), user_code: typed };
  const page = await browser.post(actionOf(entry.body), fields);
  assert.equal(page.status, 200);
  assert.ok(page.body.includes(body.user_code));
  await browser.post(actionOf(page.body), { ...hiddenOf(page.body), decision: 'allow' });
  assert.equal(await outcome(body.device_code), 'tokens');
});

test('who says no denies it, and nobody can allow it after that', async () => {
  const { body } = await begin();
  const path = pathOf(body.verification_uri_complete);
  const page = await browser.get(path);
  assert.equal((await browser.decide(path, 'deny')).status, 200);
  assert.equal(await outcome(body.device_code), 'access_denied');
  const late = await browser.post(actionOf(page.body), { ...hiddenOf(page.body), decision: 'allow' });
  assert.equal(late.status, 400);
  assert.equal(await outcome(body.device_code), 'access_denied');
});

test('after ten minutes the codes are good for nothing', async () => {
  const { body } = await begin();
  const path = pathOf(body.verification_uri_complete);
  const page = await browser.get(path);
  now += 10 * MINUTE;
  assert.equal(await outcome(body.device_code), 'expired_token');
  assert.equal((await browser.get(path)).status, 400);
  const late = await browser.post(actionOf(page.body), { ...hiddenOf(page.body), decision: 'allow' });
  assert.equal(late.status, 400);
});

test('a device that asks too often is told to slow down, by five seconds more each time', async () => {
  const { body } = await begin();
  const ask = async (afterMs: number) => {
    now += afterMs;
    return (await poll(body.device_code)).body.error;
  };
  assert.equal(await ask(0), 'authorization_pending');
  assert.equal(await ask(5_000), 'authorization_pending');
  assert.equal(await ask(2_000), 'slow_down');
  assert.equal(await ask(5_000), 'slow_down');
  assert.equal(await ask(15_000), 'authorization_pending');
});

test('who is not signed in comes to the sign-in page first, and back with the code', async () => {
  const { body } = await begin();
  const path = pathOf(body.verification_uri_complete);
  const { status, headers } = await new Browser(server).get(path);
  assert.deepEqual([status, headers.get('location')], [303, `/sign-in?next=${encodeURIComponent(path)}`]);
});

test('a form that another site sends, or that was shown to somebody else, allows nothing', async () => {
  const mallory = await signedInBrowser(server, await register(server, 'mallory'));
  const { body } = await begin();
  const page = await mallory.get(pathOf(body.verification_uri_complete));
  const fields = { ...hiddenOf(page.body), decision: 'allow' };
  assert.equal((await browser.post('/oauth2/device', fields)).status, 403);
  assert.equal(
    (await mallory.post('/oauth2/device', fields, { 'sec-fetch-site': 'cross-site' })).status,
    403,
  );
  assert.equal((await mallory.post('/oauth2/device', { ...fields, form_token: '' })).status, 403);
  assert.equal(await outcome(body.device_code), 'authorization_pending');
});

test('a device code is good for its client alone', async () => {
  const other = await registerClient(server, { ...METADATA, client_name: 'Another App' });
  const { body } = await begin();
  await browser.decide(pathOf(body.verification_uri_complete), 'allow');
  assert.equal((await poll(body.device_code, { client_id: other })).body.error, 'invalid_grant');
  assert.equal((await poll(body.device_code)).status, 200);
});

test('a request of a device that is not right is refused with what is wrong', async () => {
  const without = await registerClient(server, { ...METADATA, grant_types: ['authorization_code'] });
  const cases: readonly [Record<string, string>, number, string][] = [
    [{ client_id: '' }, 400, 'invalid_request'],
    [{ client_id: 'nobody' }, 401, 'invalid_client'],
    [{ client_id: without }, 400, 'unauthorized_client'],
    [{ scope: '' }, 400, 'invalid_scope'],
    [{ scope: 'urn:matrix:client:api:*' }, 400, 'invalid_scope'],
  ];
  for (const [fields, status, error] of cases) {
    const answer = await begin(fields);
    assert.deepEqual([answer.status, answer.body.error], [status, error], JSON.stringify(fields));
  }
  const twice = await sendForm(server, '/oauth2/device_authorization', `client_id=a&client_id=${clientId}`);
  assert.equal(twice.body.error, 'invalid_request');
  const missing = await poll('', {});
  assert.equal(missing.body.error, 'invalid_request');
  assert.equal((await poll('kdc_never')).body.error, 'invalid_grant');
});

test('guessing user codes is stopped after a few, for the user and for the address', async () => {
  let time = Date.now();
  await using limited = await startOAuthServer({ rateLimits: true, clock: { now: () => time } });
  const client = await registerClient(limited);
  const bob = await register(limited, 'bob');
  const bobs = await signedInBrowser(limited, bob);
  const { body } = await begin({ client_id: client }, limited);
  const codes = ['BBBB-BBBB', 'CCCC-CCCC', 'nonsense', 'DDDD-DDDD', 'x'.repeat(4_000)];
  for (const code of codes) assert.equal((await bobs.get(`/oauth2/device?user_code=${code}`)).status, 400);
  const right = pathOf(body.verification_uri_complete);
  assert.equal((await bobs.get(right)).status, 429);
  time += 5 * MINUTE;
  assert.equal((await bobs.get(right)).status, 200);
});
