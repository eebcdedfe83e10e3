/** https://spec.matrix.org/v1.19/client-server-api/#oauth-authentication, and what sessions of OAuth cannot do */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { signInByOAuth, startOAuthServer } from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

const UPLOAD = '/_matrix/client/v3/keys/device_signing/upload';
const URL = 'https://matrix.kurir.test/account?action=org.matrix.cross_signing_reset';
const MINUTE = 60_000;

let server: TestServer;
let alice: TestClient;
let token: string;
let now = Date.now();

before(async () => {
  server = await startOAuthServer({ clock: { now: () => now } });
  alice = await register(server, 'alice');
  token = (await signInByOAuth(server, alice)).tokens.access_token;
});

after(() => server[Symbol.asyncDispose]());

/** Uploads a master key that is like no other. */
function upload(letter: string, auth?: object, as = token): Promise<Answer> {
  const key = letter.repeat(43);
  const master = { user_id: alice.userId, usage: ['master'], keys: { [`ed25519:${key}`]: key } };
  return request(server, 'POST', UPLOAD, { token: as, body: { master_key: master, ...(auth && { auth }) } });
}

function allow(minutes = 10): Promise<void> {
  const until = now + minutes * MINUTE;
  return server.ctx.db.write('test.allow', (tx) =>
    crossSigningResets.allowReset(tx, alice.userId as `@${string}`, until),
  );
}

test('keys are replaced in a session of OAuth once that was allowed on the account page, and once only', async () => {
  assert.equal((await upload('A')).status, 200);
  const asked = await upload('E');
  assert.equal(asked.status, 401);
  const { session, flows, params } = asked.body;
  assert.deepEqual(flows, [{ stages: ['m.oauth'] }, { stages: ['org.matrix.cross_signing_reset'] }]);
  assert.deepEqual(params, { 'm.oauth': { url: URL }, 'org.matrix.cross_signing_reset': { url: URL } });
  assert.equal((await upload('E', { session })).status, 401);
  const early = await upload('E', { session, type: 'm.oauth' });
  assert.deepEqual([early.status, early.body.errcode], [401, 'M_FORBIDDEN']);
  const identifier = { type: 'm.id.user', user: alice.userId };
  const byPassword = { type: 'm.login.password', identifier, password: alice.password, session };
  assert.equal((await upload('E', byPassword)).status, 401);
  await allow();
  assert.equal((await upload('E', { session })).status, 200);
  assert.equal((await upload('I')).status, 401);
});

test('the permission holds for ten minutes', async () => {
  await allow();
  now += 10 * MINUTE;
  assert.equal((await upload('M')).status, 401);
  await allow();
  now += 9 * MINUTE;
  assert.equal((await upload('M')).status, 200);
});

test('the permission is none for a session of the legacy API, which confirms by password', async () => {
  await allow();
  const answer = await upload('Q', undefined, alice.accessToken);
  assert.equal(answer.status, 401);
  assert.ok(answer.body.flows.every(({ stages }: { stages: string[] }) => !stages.includes('m.oauth')));
});

test('the page of the stage leads to the account page', async () => {
  now += 20 * MINUTE;
  const { body } = await upload('U');
  for (const stage of ['m.oauth', 'org.matrix.cross_signing_reset']) {
    const path = `/_matrix/client/v3/auth/${stage}/fallback/web?session=${body.session}`;
    const page = await request(server, 'GET', path);
    assert.equal(page.status, 200);
    assert.ok(page.body.includes(URL));
  }
});

test('what needs user-interactive authentication is not for sessions of OAuth, and capabilities say so', async () => {
  const calls: readonly [string, string, object][] = [
    ['DELETE', `/devices/${alice.deviceId}`, {}],
    ['POST', '/delete_devices', { devices: [alice.deviceId] }],
    ['POST', '/account/deactivate', {}],
    ['POST', '/account/password', { new_password: 'another password' }],
    ['POST', '/../v1/login/get_token', {}],
  ];
  const identifier = { type: 'm.id.user', user: alice.userId };
  const auth = { type: 'm.login.password', identifier, password: alice.password };
  for (const [method, path, body] of calls) {
    const url = path.startsWith('/..') ? `/_matrix/client${path.slice(3)}` : `/_matrix/client/v3${path}`;
    for (const given of [body, { ...body, auth }]) {
      const answer = await request(server, method, url, { token, body: given });
      assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN'], url);
    }
  }
  const capabilities = '/_matrix/client/v3/capabilities';
  const names = ['m.change_password', 'm.3pid_changes', 'm.get_login_token'];
  const { body } = await request(server, 'GET', capabilities, { token });
  assert.deepEqual(
    names.map((name) => body.capabilities[name].enabled),
    [false, false, false],
  );
  const legacy = await alice.get('/capabilities');
  assert.equal(legacy.capabilities['m.change_password'].enabled, true);
});
