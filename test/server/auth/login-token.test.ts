/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const GET_TOKEN = '/_matrix/client/v1/login/get_token';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

function confirmation(user: TestClient): object {
  return {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: user.userId },
    password: user.password,
  };
}

function signIn(server: TestServer, token: unknown, more: object = {}): Promise<Answer> {
  return request(server, 'POST', '/_matrix/client/v3/login', {
    body: { type: 'm.login.token', token, ...more },
  });
}

test('a user who confirms it gets a token that signs one other device in, once', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const asked = await alice.try('POST', GET_TOKEN, {});
  assert.deepEqual([asked.status, asked.body.flows], [401, [{ stages: ['m.login.password'] }]]);
  const given = await alice.post(GET_TOKEN, { auth: confirmation(alice) });
  assert.equal(given.expires_in_ms, 120_000);
  const answer = await signIn(server, given.login_token, { device_id: 'TABLET', refresh_token: true });
  assert.deepEqual(
    [answer.status, answer.body.user_id, answer.body.device_id],
    [200, alice.userId, 'TABLET'],
  );
  assert.equal(typeof answer.body.refresh_token, 'string');
  assertError(await signIn(server, given.login_token), 403, 'M_FORBIDDEN');
  assert.equal((await alice.try('POST', GET_TOKEN, { auth: {} })).status, 401, 'asked again each time');
});

test('a login token ends after two minutes, and with the account', async () => {
  let now = Date.now();
  await using server = await startServer({ clock: { now: () => now } });
  const alice = await register(server);
  const first = await alice.post(GET_TOKEN, { auth: confirmation(alice) });
  now += 120_000;
  assertError(await signIn(server, first.login_token), 403, 'M_FORBIDDEN');
  const second = await alice.post(GET_TOKEN, { auth: confirmation(alice) });
  await alice.post('/account/deactivate', { auth: confirmation(alice) });
  assertError(await signIn(server, second.login_token), 403, 'M_FORBIDDEN');
});

test('two devices that use one login token at once: one is signed in', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const { login_token: token } = await alice.post(GET_TOKEN, { auth: confirmation(alice) });
  const answers = await Promise.all([signIn(server, token), signIn(server, token), signIn(server, token)]);
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 403, 403]);
});

test('what is no login token is refused, and the flow and the capability say that there are such', async () => {
  await using server = await startServer();
  const alice = await register(server);
  assertError(await signIn(server, undefined), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, 7), 400, 'M_BAD_JSON');
  assertError(await signIn(server, 'made up'), 403, 'M_FORBIDDEN');
  assertError(await signIn(server, alice.accessToken), 403, 'M_FORBIDDEN');
  const { capabilities } = await alice.get('/capabilities');
  assert.deepEqual(capabilities['m.get_login_token'], { enabled: true });
  const flows = await request(server, 'GET', '/_matrix/client/v3/login');
  assert.deepEqual(flows.body.flows[1], { type: 'm.login.token', get_login_token: true });
});
